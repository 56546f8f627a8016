"""Image files as they come: whole and ordinary, odd but valid, and bad in every way that must be one clear error."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pipelines.errors import ImageDecodeError, ImageTooLargeError, OcellaError
from pipelines.types import ByteArray

PICTURE_HW = (24, 40)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class BadImage(NamedTuple):
    """A file and the error that it must cause."""

    data: bytes
    error: type[OcellaError]


def picture(size_hw: tuple[int, int] = PICTURE_HW) -> ByteArray:
    """A smooth, colourful ``(H, W, 3)`` uint8 RGB picture without any symmetry."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    down, across = y / max(1, size_hw[0] - 1), x / max(1, size_hw[1] - 1)
    planes = 230 * across * (1 - down / 2), 40 + 200 * down, 255 * (1 - across) * (0.3 + 0.7 * down)
    return np.stack(planes, axis=2).astype(np.uint8)


def opacity(size_hw: tuple[int, int] = PICTURE_HW) -> ByteArray:
    """Alpha from clear (left) to opaque (right), ``(H, W)`` uint8."""
    return np.broadcast_to(np.linspace(0, 255, size_hw[1]).astype(np.uint8), size_hw).copy()


def encode(pixels: ByteArray | Image.Image, kind: str, **options: Any) -> bytes:
    """Encode with Pillow; ``kind`` is its name of the format."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    """An EXIF block with nothing but an orientation, as Pillow wants it."""
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with its right CRC."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size_hw: tuple[int, int], depth: int, color: int, lines: bytes, extra: bytes = b"") -> bytes:
    """A PNG by hand: ``lines`` are filter bytes and samples, ``extra`` goes before the pixels."""
    head = struct.pack(">IIBBBBB", size_hw[1], size_hw[0], depth, color, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(lines))
    return PNG_SIGNATURE + png_chunk(b"IHDR", head) + extra + pixels + png_chunk(b"IEND", b"")


def png_bomb() -> bytes:
    """A PNG of under 100 bytes that claims 50,000 x 50,000 pixels."""
    return png((50_000, 50_000), 8, 2, b"")


def zip_archive(comment: bytes = b"") -> bytes:
    """A small zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("payload.txt", "hello")
        archive.comment = comment
    return stream.getvalue()


def with_jpeg_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """Insert a segment right behind the start of a JPEG."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + jpeg[2:]


def without_jpeg_segment(jpeg: bytes, marker: int) -> bytes:
    """Cut out the first segment of ``marker`` before the pixels."""
    position = 2
    while jpeg[position + 1] != marker:
        position += 2 + struct.unpack_from(">H", jpeg, position + 2)[0]
    length = 2 + struct.unpack_from(">H", jpeg, position + 2)[0]
    return jpeg[:position] + jpeg[position + length :]


def whole_images() -> Mapping[str, bytes]:
    """The picture once in each allowed format."""
    pixels = picture()
    return {
        "jpeg": encode(pixels, "JPEG", quality=95),
        "png": encode(pixels, "PNG"),
        "webp": encode(pixels, "WEBP", lossless=True),
        "bmp": encode(pixels, "BMP"),
        "tiff": encode(pixels, "TIFF"),
    }


def odd_images() -> Mapping[str, bytes]:
    """Valid files of unusual kinds; all show the picture (grey, few colours or turned where the name says so)."""
    pixels = picture()
    image = Image.fromarray(pixels)
    clear = Image.fromarray(np.dstack((pixels, opacity())))
    gray16 = Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257)
    turned = {
        f"{kind}_exif_{turn}": encode(image, kind, exif=exif(turn), **options)
        for kind, options in (("jpeg", {"quality": 95}), ("png", {}), ("webp", {"lossless": True}), ("tiff", {}))
        for turn in range(1, 9)
    }
    return {
        "jpeg_progressive": encode(image, "JPEG", progressive=True, quality=95),
        "jpeg_444": encode(image, "JPEG", subsampling=0, quality=95),
        "jpeg_gray": encode(image.convert("L"), "JPEG", quality=95),
        "jpeg_cmyk_adobe": encode(image.convert("CMYK"), "JPEG", quality=98),
        "jpeg_cmyk_plain": without_jpeg_segment(
            encode(Image.fromarray(255 - np.array(image.convert("CMYK")), "CMYK"), "JPEG", quality=98), 0xEE
        ),
        "jpeg_ycck": _ycck(image.convert("CMYK")),
        "jpeg_restarts": encode(image, "JPEG", quality=95, restart_marker_blocks=1),
        "jpeg_damaged_exif": encode(image, "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        "jpeg_second_jpeg_behind": encode(image, "JPEG", quality=95) + encode(image, "JPEG", quality=10),
        "jpeg_video_behind": encode(image, "JPEG", quality=95) + b"\0\0\0\x18ftypmp42" + bytes(64),
        "png_gray": encode(image.convert("L"), "PNG"),
        "png_gray_16": encode(gray16, "PNG"),
        "png_bilevel": encode(image.convert("1"), "PNG"),
        "png_palette": encode(image.quantize(256), "PNG"),
        "png_alpha": encode(clear, "PNG"),
        "png_gray_alpha": encode(clear.convert("LA"), "PNG"),
        "png_zeros_behind": encode(image, "PNG") + bytes(7),
        "webp_lossy": encode(image, "WEBP", quality=95),
        "webp_alpha": encode(clear, "WEBP", lossless=True, exact=True),
        "bmp_palette": encode(image.quantize(256), "BMP"),
        "bmp_bilevel": encode(image.convert("1"), "BMP"),
        "tiff_lzw": encode(image, "TIFF", compression="tiff_lzw"),
        "tiff_deflate": encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "tiff_jpeg": encode(image, "TIFF", compression="jpeg", quality=95),
        "tiff_gray_16": encode(gray16, "TIFF"),
        "tiff_cmyk": encode(image.convert("CMYK"), "TIFF"),
        "tiff_palette": encode(image.quantize(256), "TIFF"),
        "tiff_alpha": encode(clear, "TIFF"),
        "tiff_bilevel": encode(image.convert("1"), "TIFF", compression="group4"),
        **turned,
    }


def _ycck(inks: Image.Image) -> bytes:
    """A JPEG of inks as Adobe's YCCK: luma and chroma of C, M, Y, with transform 2 in Adobe's marker."""
    levels = np.array(inks)
    luma_chroma = np.array(Image.fromarray(levels[..., :3].copy()).convert("YCbCr"))
    stored = np.dstack((255 - luma_chroma, levels[..., 3:]))  # Pillow inverts all four while it writes
    jpeg = encode(Image.fromarray(stored, "CMYK"), "JPEG", quality=98)
    transform = jpeg.index(b"Adobe") + 11
    return jpeg[:transform] + b"\x02" + jpeg[transform + 1 :]


def truncated_images() -> Mapping[str, bytes]:
    """Each allowed format cut off at many places, down to its signature."""
    cuts = {}
    for name, data in whole_images().items():
        for keep in sorted(
            {12, 20, 40, *(len(data) * part // 16 for part in range(1, 16)), len(data) - 2, len(data) - 1}
        ):
            if keep < len(data):
                cuts[f"{name}_cut_to_{keep}"] = data[:keep]
    return cuts


def bad_images() -> Mapping[str, BadImage]:
    """Files that must be refused, each with the error that it must cause."""
    wrong = {**_not_images(), **_several_images(), **_polyglots(), **_damaged(), **truncated_images()}
    bad = {name: BadImage(data, ImageDecodeError) for name, data in wrong.items()}
    return {**bad, **{name: BadImage(data, ImageTooLargeError) for name, data in _bombs().items()}}


def _not_images() -> Mapping[str, bytes]:
    return {
        "empty": b"",
        "one_byte": b"\xff",
        "text": b"this is not an image",
        "html": b"<!doctype html><title>404</title>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "zeros": bytes(4096),
        "zip": zip_archive(),
        "pdf": b"%PDF-1.7\n%%EOF\n",
        "gif": encode(Image.fromarray(picture()).quantize(64), "GIF"),
        "ppm": encode(picture(), "PPM"),
        "icon": encode(picture(), "ICO"),
        "jpeg_2000": encode(picture(), "JPEG2000"),
        "wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(28),
        "big_tiff": encode(picture(), "TIFF", big_tiff=True),
    }


def _several_images() -> Mapping[str, bytes]:
    frames = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    return {
        "animated_gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated_png": encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "animated_webp": encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "tiff_of_two_pages": encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
    }


def _polyglots() -> Mapping[str, bytes]:
    whole = whole_images()
    payloads = {
        "zip": zip_archive(),
        "pdf": b"%PDF-1.7\n%%EOF\n",
        "html": b"<script>alert(1)</script>",
        "png": whole["png"],
        "program": b"\x7fELF" + bytes(60),
    }
    behind = {f"jpeg_then_{name}": whole["jpeg"] + payload for name, payload in payloads.items()}
    behind |= {f"jpeg_then_zeros_and_{name}": whole["jpeg"] + bytes(9) + data for name, data in payloads.items()}
    for kind in ("png", "webp", "bmp"):
        behind |= {f"{kind}_then_{name}": whole[kind] + payload for name, payload in payloads.items()}
        behind[f"{kind}_then_a_byte"] = whole[kind] + b"x"
        behind[f"{kind}_then_itself"] = whole[kind] * 2
    return {
        **behind,
        "jpeg_then_junk_and_zip": whole["jpeg"] + b"junk" + zip_archive(),
        "tiff_then_zip": whole["tiff"] + zip_archive(comment=b"hello"),
        "jpeg_inside_a_zip_comment": with_jpeg_segment(whole["jpeg"], 0xFE, _zip_with_open_comment(len(whole["jpeg"]))),
    }


def _zip_with_open_comment(comment_bytes: int) -> bytes:
    """An archive that announces the rest of the file as its comment: all but the 2 bytes before it."""
    archive = zip_archive()
    return archive[:-2] + struct.pack("<H", comment_bytes - 2)


def _damaged() -> Mapping[str, bytes]:
    whole = whole_images()
    jpeg, plain_png, bmp = whole["jpeg"], whole["png"], whole["bmp"]
    lzw = encode(picture(), "TIFF", compression="tiff_lzw")
    data_start = plain_png.index(b"IDAT") + 12
    flipped = bytes([plain_png[data_start] ^ 0x40])
    frame = jpeg.index(b"\xff\xc0")
    floats = Image.fromarray(np.ones(PICTURE_HW, np.float32))
    return {
        "png_no_width": png((4, 0), 8, 2, b""),
        "png_no_pixels": PNG_SIGNATURE
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
        + png_chunk(b"IEND", b""),
        "png_few_pixels": png((5, 2), 8, 2, b"\0" + bytes(6)),
        "png_bad_depth": png((1, 1), 7, 2, b"\0\0\0\0"),
        "png_bit_flipped": plain_png[:data_start] + flipped + plain_png[data_start + 1 :],
        "png_chunks_without_end": PNG_SIGNATURE
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
        + png_chunk(b"teXt", b"") * 70_000,
        "jpeg_no_height": jpeg[: frame + 5] + b"\0\0" + jpeg[frame + 7 :],
        "jpeg_12_bit": jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :],
        "jpeg_lossless": jpeg[: frame + 1] + b"\xc3" + jpeg[frame + 2 :],
        "jpeg_two_frames": jpeg[:frame] + jpeg[frame : frame + 19] + jpeg[frame:],
        "jpeg_no_scan": jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9",
        "jpeg_no_tables": b"\xff\xd8" + jpeg[frame:],
        "jpeg_start_twice": jpeg[:2] + jpeg,
        "jpeg_many_scans": _with_repeated_scan(jpeg, 200),
        "webp_empty": b"RIFF\x04\0\0\0WEBP",
        "webp_two_sizes": _webp(b"VP8X" + struct.pack("<IIHBHB", 10, 0, 7, 0, 7, 0), whole["webp"]),
        "webp_damaged": whole["webp"][:30] + b"\xff" * (len(whole["webp"]) - 30),
        "bmp_wrong_size": bmp[:2] + struct.pack("<I", len(bmp) - 1) + bmp[6:],
        "bmp_no_width": bmp[:18] + bytes(4) + bmp[22:],
        "bmp_negative_width": bmp[:18] + struct.pack("<i", -PICTURE_HW[1]) + bmp[22:],
        "bmp_compressed": bmp[:30] + struct.pack("<I", 1) + bmp[34:],
        "tiff_float": encode(floats, "TIFF"),
        "tiff_signed_32_bit": encode(floats.convert("I"), "TIFF"),
        "tiff_lab": encode(Image.fromarray(picture()).convert("LAB"), "TIFF"),
        "tiff_no_directory": b"II*\0\xff\xff\xff\x00" + bytes(16),
        "tiff_few_pixels": with_tiff_tag(whole["tiff"], 257, 48),
        "tiff_few_compressed_pixels": with_tiff_tag(with_tiff_tag(lzw, 257, 48), 278, 48),
        "tiff_two_widths": with_tiff_tag(whole["tiff"], 256, 40).replace(
            struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 256, 4, 2)
        ),
    }


def _bombs() -> Mapping[str, bytes]:
    jpeg = encode(picture(), "JPEG")
    lzw = encode(picture(), "TIFF", compression="tiff_lzw")
    frame = jpeg.index(b"\xff\xc0")
    lossless = b"\x2f" + struct.pack("<I", 16383 | 16383 << 14)
    return {
        "png_bomb": png_bomb(),
        "jpeg_bomb": jpeg[: frame + 5] + struct.pack(">HH", 65_500, 65_500) + jpeg[frame + 9 :],
        "webp_bomb": _webp(b"VP8L" + struct.pack("<I", len(lossless) + 1) + lossless + b"\0", b""),
        "tiff_bomb": with_tiff_tag(with_tiff_tag(lzw, 256, 50_000), 257, 50_000),
    }


def _with_repeated_scan(jpeg: bytes, times: int) -> bytes:
    scan = jpeg[jpeg.index(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * times + jpeg[-2:]


def _webp(chunk: bytes, rest: bytes) -> bytes:
    """A WebP of ``chunk`` and then the chunks of another WebP."""
    body = b"WEBP" + chunk + rest[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_tiff_tag(tiff: bytes, tag: int, value: int) -> bytes:
    """Overwrite a tag that a little-endian TIFF has with one LONG value."""
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    positions = (start + 2 + 12 * index for index in range(count))
    position = next(p for p in positions if struct.unpack_from("<H", tiff, p)[0] == tag)
    return tiff[:position] + struct.pack("<HHII", tag, 4, 1, value) + tiff[position + 12 :]
