"""TIFF directories: orientation of an EXIF block, and TIFF files cut down to what their pixels need."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import ImageDecodeError

BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
INTEGER_CODES = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG: all that sizes and offsets may be
ENTRY_BYTES = 12

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
SAMPLES, SUB_IFDS, SAMPLE_FORMAT = 277, 330, 339
STRIPS, TILES = (273, 279), (324, 325)  # offsets, byte counts
TILE_WIDTH, TILE_HEIGHT = 322, 323
# One value each: also fill order, rows per strip, planes, fax options, predictor.
SINGLE_TAGS = frozenset(
    {WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, 266, SAMPLES, 278, 284, 292, 293, 317, TILE_WIDTH, TILE_HEIGHT}
)
UNCOMPRESSED = 1
# With several values: also palette, extra samples, JPEG tables, YCbCr coefficients.
PIXEL_TAGS = SINGLE_TAGS | {BITS, *STRIPS, 320, *TILES, 338, SAMPLE_FORMAT, 347, 529, 530, 531, 532}
WHITE_IS_ZERO = 0
PHOTOMETRICS = frozenset({WHITE_IS_ZERO, 1, 2, 3, 5, 6})  # grey, grey, RGB, palette, CMYK, YCbCr
MAX_VALUES = 2**18  # of one tag; a strip for each line of a picture is the most that is of use
MAX_TILE_PIXELS = 2**24


@dataclass(frozen=True)
class Entry:
    """One 12-byte entry of a directory: type code, number of values, where they lie, and the entry as it stands."""

    kind: int
    count: int
    offset: int
    raw: bytes


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF file says of its only image.

    Attributes:
        size_hw: as stored, before orientation.
        orientation: 1 to 8 as in EXIF.
    """

    size_hw: tuple[int, int]
    orientation: int


def exif_orientation(exif: bytes) -> int:
    """Read the orientation of an EXIF block (a TIFF header and directory); 1 where it has none or is damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        order = BYTE_ORDERS[exif[:4]]
        entries, _ = _read_directory(exif, order)
        return _orientation(exif, order, entries)
    except (KeyError, struct.error, ImageDecodeError):
        return 1


def read_tiff_header(data: bytes) -> TiffHeader:
    """Read and check the directory of a TIFF file.

    Raises:
        ImageDecodeError: not one whole image of unsigned integers of at most 16 bits, in grey, RGB, palette, CMYK or
            YCbCr.
        struct.error: the directory reaches past the end.
    """
    order = BYTE_ORDERS[data[:4]]
    entries, next_directory = _read_directory(data, order)
    if next_directory or SUB_IFDS in entries:
        raise ImageDecodeError("TIFF must hold one image, got several pages")
    kept = _for_pixels(entries)
    for tag, entry in kept.items():
        if entry.offset + entry.count * TYPE_BYTES.get(entry.kind, 0) > len(data):
            raise ImageDecodeError(f"TIFF must be whole, got a file that ends before the values of tag {tag}")
        if tag in SINGLE_TAGS and entry.count != 1:
            raise ImageDecodeError(f"TIFF tag {tag} must have one value, got {entry.count:,}")
    _check_samples(data, order, kept)
    _check_data(data, order, kept)
    return TiffHeader(
        size_hw=(_one(data, order, kept, HEIGHT), _one(data, order, kept, WIDTH)),
        orientation=_orientation(data, order, entries),
    )


def pixels_only(data: bytes) -> bytes:
    """Give a checked TIFF file a directory that holds nothing but what decoding needs.

    No orientation, EXIF, ICC profile or private tag is left for a decoder to act on or to stumble over. The new
    directory stands at the end and the header points to it; the values stay where they are.
    """
    order = BYTE_ORDERS[data[:4]]
    entries, _ = _read_directory(data, order)
    kept = _for_pixels(entries)
    start = len(data) + len(data) % 2  # a directory begins at an even byte (TIFF 6.0, section 2)
    head = data[:4] + struct.pack(f"{order}I", start)
    directory = b"".join(kept[tag].raw for tag in sorted(kept))
    return b"".join(
        (head, data[8:], bytes(start - len(data)), struct.pack(f"{order}H", len(kept)), directory, bytes(4))
    )


def _for_pixels(entries: Mapping[int, Entry]) -> dict[int, Entry]:
    return {tag: entry for tag, entry in entries.items() if tag in PIXEL_TAGS}


def _read_directory(data: bytes, order: str) -> tuple[dict[int, Entry], int]:
    """First directory by tag, and the offset of the next one (0: none)."""
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    entries = {}
    for position in range(start + 2, start + 2 + count * ENTRY_BYTES, ENTRY_BYTES):
        tag, kind, values, offset = struct.unpack_from(f"{order}HHII", data, position)
        inline = values * TYPE_BYTES.get(kind, 0) <= 4
        raw = data[position : position + ENTRY_BYTES]
        entries[tag] = Entry(kind, values, position + 8 if inline else offset, raw)
    (following,) = struct.unpack_from(f"{order}I", data, start + 2 + count * ENTRY_BYTES)
    return entries, following


def _integers(data: bytes, order: str, entries: Mapping[int, Entry], tag: int) -> tuple[int, ...]:
    entry = entries.get(tag)
    if entry is None or entry.kind not in INTEGER_CODES or not 1 <= entry.count <= MAX_VALUES:
        raise ImageDecodeError(f"TIFF must have tag {tag} with 1 to {MAX_VALUES:,} whole numbers")
    return struct.unpack_from(f"{order}{entry.count}{INTEGER_CODES[entry.kind]}", data, entry.offset)


def _one(data: bytes, order: str, entries: Mapping[int, Entry], tag: int) -> int:
    return _integers(data, order, entries, tag)[0]


def _orientation(data: bytes, order: str, entries: Mapping[int, Entry]) -> int:
    if ORIENTATION not in entries:
        return 1
    value = _one(data, order, entries, ORIENTATION)
    return value if 1 <= value <= 8 else 1


def _check_samples(data: bytes, order: str, entries: Mapping[int, Entry]) -> None:
    bits = set(_integers(data, order, entries, BITS)) if BITS in entries else {1}
    if len(bits) != 1 or not bits <= {1, 2, 4, 8, 16}:
        raise ImageDecodeError(f"TIFF samples must all have 1, 2, 4, 8 or 16 bits, got {sorted(bits)}")
    formats = set(_integers(data, order, entries, SAMPLE_FORMAT)) if SAMPLE_FORMAT in entries else {1}
    if formats != {1}:
        raise ImageDecodeError(f"TIFF samples must be unsigned integers (format 1), got {sorted(formats)}")
    photometric = _one(data, order, entries, PHOTOMETRIC)
    if photometric not in PHOTOMETRICS or (photometric == WHITE_IS_ZERO and bits == {16}):
        raise ImageDecodeError(
            "TIFF must be grey (16 bits: black is zero), RGB, palette, CMYK or YCbCr, "
            f"got photometric {photometric} with {min(bits)} bits"
        )


def _check_data(data: bytes, order: str, entries: Mapping[int, Entry]) -> None:
    """Refuse strips or tiles that lie outside the file, and tiles so large that one alone is a memory bomb."""
    tiled = TILES[0] in entries
    offsets, counts = (_integers(data, order, entries, tag) for tag in (TILES if tiled else STRIPS))
    if len(offsets) != len(counts):
        raise ImageDecodeError(f"TIFF must have as many byte counts as offsets, got {len(counts)} and {len(offsets)}")
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > len(data):
        raise ImageDecodeError(f"TIFF must be whole, got {len(data):,} bytes of at least {end:,}")
    if COMPRESSION not in entries or _one(data, order, entries, COMPRESSION) == UNCOMPRESSED:
        bits = _one(data, order, entries, BITS) if BITS in entries else 1
        samples = _one(data, order, entries, SAMPLES) if SAMPLES in entries else 1
        pixels = _one(data, order, entries, HEIGHT) * _one(data, order, entries, WIDTH)
        if sum(counts) < pixels * samples * bits // 8:  # Pillow would read on into whatever follows
            raise ImageDecodeError(f"TIFF must hold all its pixels, got {sum(counts):,} bytes for {pixels:,} pixels")
    if tiled:
        pixels = _one(data, order, entries, TILE_WIDTH) * _one(data, order, entries, TILE_HEIGHT)
        if pixels > MAX_TILE_PIXELS:
            raise ImageDecodeError(f"TIFF tiles must have at most {MAX_TILE_PIXELS:,} pixels, got {pixels:,}")
