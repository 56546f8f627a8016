"""What an image file's own structure says before any pixel is decoded: format, size, orientation, one image, whole."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from pipelines.errors import ImageDecodeError
from pipelines.tiff import exif_orientation, read_tiff_header

Format: TypeAlias = Literal["JPEG", "PNG", "WebP", "BMP", "TIFF"]

MAX_PARTS = 65_536  # markers or chunks; a file of nothing but empty ones would keep a core busy for seconds
MAX_SCANS = 100  # of a JPEG; encoders write about 10, and each costs a pass over all pixels
PADDING = b"\0\r\n\t "
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not a stuffed byte, fill byte or restart
ZIP_END = b"PK\x05\x06"
ZIP_END_BYTES = 22
FOREIGN_STARTS = (
    *(b"PK\x03\x04", ZIP_END, b"Rar!", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),  # archives
    *(b"%PDF", b"<", b"#!", b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe"),  # documents and programs
    *(b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"8BPS"),  # other images
)


@dataclass(frozen=True)
class ImageHeader:
    """What the structure says.

    Attributes:
        format: by signature, never by name.
        size_hw: as stored, before orientation.
        end: length of the image in bytes; what follows is never interpreted.
        orientation: 1 to 8 as in EXIF; 1 where there is none.
        inks: of a JPEG with four components: ``inverted`` where Adobe's marker is there, else ``plain``.
        clear_gray: level of a grey PNG that is transparent, in the range of the decoded samples.
    """

    format: Format
    size_hw: tuple[int, int]
    end: int
    orientation: int = 1
    inks: Literal["none", "plain", "inverted"] = "none"
    clear_gray: int | None = None


def read_header(data: bytes) -> ImageHeader:
    """Walk through the file's structure, without decoding.

    Raises:
        ImageDecodeError: not an allowed format, not whole, more than one frame or page, a side of zero, or followed by
            another file. Only padding may follow PNG, WebP and BMP. After a JPEG the data that cameras append is let
            through (a second JPEG, a clip of video) unless it begins as an archive, document, program or image of
            another kind. No file may end as a zip archive does.
    """
    read = next((read for signature, read in READERS.items() if data.startswith(signature)), None)
    if read is None:
        raise ImageDecodeError(f"image must be JPEG, PNG, WebP, BMP or TIFF, got bytes that begin {data[:8]!r}")
    try:
        header = read(data)
    except struct.error as error:
        raise ImageDecodeError(f"image must be whole, got a file that ends within its header ({error})") from error
    if min(header.size_hw) < 1:
        raise ImageDecodeError(f"image sides must be at least 1 pixel, got {header.size_hw}")
    _check_what_follows(data, header)
    return header


def _check_what_follows(data: bytes, header: ImageHeader) -> None:
    rest = data[header.end :].lstrip(PADDING)
    if rest and (header.format != "JPEG" or rest.startswith(FOREIGN_STARTS)):
        raise ImageDecodeError(f"nothing may follow a {header.format}, got {len(rest):,} bytes that begin {rest[:8]!r}")
    # A zip archive is found from its end: a last record whose comment, by its own length, reaches the end of the file.
    position = data.rfind(ZIP_END, max(0, len(data) - ZIP_END_BYTES - 0xFFFF))
    if 0 <= position <= len(data) - ZIP_END_BYTES:
        (comment_bytes,) = struct.unpack_from("<H", data, position + ZIP_END_BYTES - 2)
        if position + ZIP_END_BYTES + comment_bytes == len(data):
            raise ImageDecodeError(f"image must not be a zip archive too, got a {header.format} that ends as one")


def _truncated(format_: Format, got: int, wanted: int) -> ImageDecodeError:
    return ImageDecodeError(f"{format_} must be whole, got {got:,} bytes of at least {wanted:,}")


def _read_jpeg(data: bytes) -> ImageHeader:
    """Step from marker to marker up to the end marker; raises where the data ends before it (ITU-T T.81, annex B)."""
    position, orientation, scans = 2, 1, 0
    frame: tuple[int, int, int] | None = None  # height, width, components
    adobe = False
    for _ in range(MAX_PARTS):
        found = JPEG_MARKER.search(data, position)
        if found is None:
            raise ImageDecodeError(f"JPEG must be whole, got {len(data):,} bytes without an end marker")
        marker, start = data[found.start() + 1], found.end()
        if marker == 0xD9:
            break
        if marker == 0xD8:
            raise ImageDecodeError(f"JPEG must hold one image, got another start marker at byte {found.start():,}")
        if marker == 0x01:  # TEM stands alone
            position = start
            continue
        (length,) = struct.unpack_from(">H", data, start)
        body, position = data[start + 2 : start + length], start + length
        if position > len(data):
            raise _truncated("JPEG", len(data), position)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = _jpeg_frame(marker, body, again=frame is not None)
        elif marker == 0xDA:
            scans += 1
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(body)
        elif marker == 0xEE and body.startswith(b"Adobe"):
            adobe = True
    else:
        raise ImageDecodeError(f"JPEG must have at most {MAX_PARTS:,} markers")
    if frame is None or not 1 <= scans <= MAX_SCANS:
        raise ImageDecodeError(f"JPEG must have a frame and 1 to {MAX_SCANS} scans, got {scans:,} scans")
    height, width, components = frame
    inks: Literal["none", "plain", "inverted"] = "none"
    if components == 4:
        inks = "inverted" if adobe else "plain"
    return ImageHeader("JPEG", (height, width), end=start, orientation=orientation, inks=inks)


def _jpeg_frame(marker: int, body: bytes, *, again: bool) -> tuple[int, int, int]:
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    if again:
        raise ImageDecodeError("JPEG must hold one frame, got several")
    if marker > 0xC2 or precision != 8 or components not in (1, 3, 4):
        raise ImageDecodeError(
            "JPEG must be baseline or progressive with 1, 3 or 4 components of 8 bits, "
            f"got process {marker - 0xC0} with {components} of {precision} bits"
        )
    return height, width, components


def _read_png(data: bytes) -> ImageHeader:
    """Step from chunk to chunk up to IEND, checking the CRC of each that decoding depends on (PNG, 3rd edition)."""
    length, kind, width, height, depth, color = struct.unpack_from(">I4sIIBB", data, 8)
    if (length, kind) != (13, b"IHDR"):
        raise ImageDecodeError(f"PNG must begin with IHDR, got {kind!r} of {length:,} bytes")
    position, orientation, clear_gray = 8, 1, None
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position + 8, position + 12 + length
        if position > len(data):
            raise _truncated("PNG", len(data), position)
        critical = not kind[0] & 0x20
        if critical and struct.pack(">I", zlib.crc32(data[start - 4 : position - 4])) != data[position - 4 : position]:
            raise ImageDecodeError(f"PNG must be undamaged, got a wrong CRC in its {kind.decode('latin-1')} chunk")
        if kind == b"IEND":
            break
        if kind in (b"acTL", b"fcTL"):
            raise ImageDecodeError("PNG must hold one image, got an animation")
        if kind == b"eXIf":
            orientation = exif_orientation(data[start : position - 4])
        if kind == b"tRNS" and color == 0 and length == 2:
            (level,) = struct.unpack_from(">H", data, start)
            clear_gray = level if depth >= 8 else level * 255 // (2**depth - 1)
    else:
        raise ImageDecodeError(f"PNG must have at most {MAX_PARTS:,} chunks")
    return ImageHeader("PNG", (height, width), end=position, orientation=orientation, clear_gray=clear_gray)


def _read_webp(data: bytes) -> ImageHeader:
    """Step through the RIFF chunks (WebP container specification)."""
    riff_bytes, kind = struct.unpack_from("<I4s", data, 4)
    end = 8 + riff_bytes
    if kind != b"WEBP":
        raise ImageDecodeError(f"RIFF file must be WebP, got {kind!r}")
    if end > len(data):
        raise _truncated("WebP", len(data), end)
    position, orientation = 12, 1
    sizes: set[tuple[int, int]] = set()
    for _ in range(MAX_PARTS):
        if position >= end:
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        start, position = position + 8, position + 8 + length + length % 2
        if position > end:
            raise _truncated("WebP", end, position)
        if kind in (b"ANIM", b"ANMF"):
            raise ImageDecodeError("WebP must hold one image, got an animation")
        if kind in WEBP_SIZES:
            sizes.add(WEBP_SIZES[kind](data, start))
        if kind == b"EXIF":
            orientation = exif_orientation(data[start : start + length])
    else:
        raise ImageDecodeError(f"WebP must have at most {MAX_PARTS:,} chunks")
    if len(sizes) != 1:
        raise ImageDecodeError(f"WebP must state one size, got {sorted(sizes) or 'none'}")
    return ImageHeader("WebP", sizes.pop(), end=end, orientation=orientation)


def _vp8x_size(data: bytes, start: int) -> tuple[int, int]:
    low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, start + 4)
    return (high_height << 16 | low_height) + 1, (high_width << 16 | low_width) + 1


def _vp8_size(data: bytes, start: int) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, start + 6)  # after frame tag and start code; 2 bits are a scale
    return height & 0x3FFF, width & 0x3FFF


def _vp8l_size(data: bytes, start: int) -> tuple[int, int]:
    (bits,) = struct.unpack_from("<I", data, start + 1)  # after the signature: 14 bits of width - 1, of height - 1
    return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1


WEBP_SIZES = {b"VP8X": _vp8x_size, b"VP8 ": _vp8_size, b"VP8L": _vp8l_size}


def _read_bmp(data: bytes) -> ImageHeader:
    """Check that the stated file size, the pixels and the file agree (uncompressed pixels only)."""
    file_bytes, _, offset, header_bytes = struct.unpack_from("<IIII", data, 2)
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression not in (0, 3):  # BI_RGB, BI_BITFIELDS
        raise ImageDecodeError(f"BMP must be uncompressed, got compression {compression}")
    wanted = offset + (width * bits + 31) // 32 * 4 * abs(height)
    if wanted > len(data):
        raise _truncated("BMP", len(data), wanted)
    if not wanted <= file_bytes <= len(data):
        raise ImageDecodeError(
            f"BMP must state its own size, between {wanted:,} and {len(data):,} bytes, got {file_bytes:,}"
        )
    return ImageHeader("BMP", (abs(height), width), end=file_bytes)


def _read_tiff(data: bytes) -> ImageHeader:
    """Values and strips may lie anywhere in a TIFF, so nothing can be said of what follows the last."""
    header = read_tiff_header(data)
    return ImageHeader("TIFF", header.size_hw, end=len(data), orientation=header.orientation)


READERS: Mapping[bytes, Callable[[bytes], ImageHeader]] = MappingProxyType(
    {
        b"\xff\xd8\xff": _read_jpeg,
        b"\x89PNG\r\n\x1a\n": _read_png,
        b"RIFF": _read_webp,
        b"BM": _read_bmp,
        b"II*\0": _read_tiff,
        b"MM\0*": _read_tiff,
    }
)
