"""Frames of a video file: every n-th, with its number and time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2

from pipelines.errors import ImageDecodeError
from pipelines.types import AnyArray
from serving.batch.entry import Entry, failing_entry, stamp_of


def entries(path: bytes, stride: int) -> Iterator[Entry]:
    """Frame 0, ``stride``, 2 ``stride`` and so on, each in its turn, as an uncompressed image (BMP).

    ``time_s`` is the frame's own time stamp, as OpenCV reports it. A frame that is not loaded is not decoded.
    """
    stamp = stamp_of(path)
    capture = cv2.VideoCapture(os.fsdecode(path))
    try:
        if not capture.isOpened():
            yield failing_entry(path, OSError(5, "a video must be of a format that FFmpeg reads, it opens none"))
            return
        number = 0
        while capture.grab():
            if number % stride == 0:
                time_s = round(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 6)
                yield Entry(
                    name=b"%s#frame=%d" % (path, number),
                    relative=b"%s-%08d" % (os.path.basename(path), number),  # noqa: PTH119, names are bytes
                    stamp=stamp and b"%s:%d" % (stamp, number),
                    load=lambda: _bmp(capture),
                    in_turn=True,
                    details={"frame": number, "time_s": time_s},
                )
            number += 1
        if number == 0:
            yield failing_entry(path, OSError(5, "a video must have a frame, none could be read"))
    finally:
        capture.release()


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
