"""Frames of a video file: every n-th, with its number and time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2

from pipelines.errors import ImageDecodeError
from pipelines.types import AnyArray
from serving.batch.entry import Entry, failing_entry, stamp_of

MOST_MISSING = 0.05
"""Part of frames and time that may be missing at the end: where a header has no number of frames, it is an estimate."""


def entries(path: bytes, stride: int) -> Iterator[Entry]:
    """Frame 0, ``stride``, 2 ``stride`` and so on, each in its turn, as an uncompressed image (BMP).

    ``time_s`` is the frame's own time stamp, as OpenCV reports it. A frame that is not loaded is not converted to
    pixels, though FFmpeg decodes it. A video
    that ends long before its header says so gives an entry that fails behind its last frame.
    """
    stamp = stamp_of(path)
    try:
        capture = _opened(path)
    except OSError as error:
        yield failing_entry(path, error)
        return
    try:
        if not capture.isOpened():
            yield failing_entry(path, OSError(5, "a video must be of a format that FFmpeg reads, it opens none"))
            return
        number, time_s = 0, 0.0
        while capture.grab():
            time_s = round(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 6)
            if number % stride == 0:
                yield Entry(
                    name=b"%s#frame=%d" % (path, number),
                    relative=b"%s-%08d.bmp" % (os.path.basename(path), number),  # noqa: PTH119, names are bytes
                    stamp=stamp and b"%s:%d" % (stamp, number),
                    load=lambda: _bmp(capture),
                    in_turn=True,
                    details={"frame": number, "time_s": time_s},
                )
            number += 1
        if number == 0:
            yield failing_entry(path, OSError(5, "a video must have a frame, none could be read"))
        elif announced := _if_cut(capture, number, time_s):
            yield failing_entry(
                path,
                OSError(5, f"a video must be whole, it has {number:,} of the {announced:,} frames that it announces"),
            )
    finally:
        capture.release()


def _opened(path: bytes) -> cv2.VideoCapture:
    """Open a file of any name, of which OpenCV takes only UTF-8: of another one its process dies. Raises OSError."""
    try:
        return cv2.VideoCapture(path.decode())
    except UnicodeDecodeError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cv2.VideoCapture(f"/dev/fd/{descriptor}")
        finally:
            os.close(descriptor)


def _if_cut(capture: cv2.VideoCapture, number: int, time_s: float) -> int:
    """The frames that the header announces where both these and its time are clearly not reached; else 0.

    The estimate of a video whose frames come at no fixed rate may be far off, its time is not.
    """
    announced, per_s = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    reached = (1 - MOST_MISSING) * announced
    return int(announced) if per_s > 0 and number < reached and time_s * per_s + 1 < reached else 0


def _bmp(capture: cv2.VideoCapture) -> bytes:
    done, frame = capture.retrieve()
    if not done:
        raise ImageDecodeError("the frame must be undamaged, its decoder gave no pixels")
    return encode_bmp(frame)


def encode_bmp(frame: AnyArray) -> bytes:
    """Encode BGR ``(H, W, 3)`` uint8 without loss; BMP costs a copy, where PNG would cost more than many a model."""
    done, data = cv2.imencode(".bmp", frame)
    if not done:
        raise ImageDecodeError(f"the frame must be (H, W, 3) uint8, got {frame.dtype} {frame.shape}")
    return data.tobytes()
