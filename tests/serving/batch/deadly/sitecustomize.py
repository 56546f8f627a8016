"""Makes OpenCV's decoder die of some images, as a damaged codec does; Python reads this file where its path has it."""

from __future__ import annotations

import signal
from typing import Any

import cv2

MARK = b"deadly image"
_decode = cv2.imdecode


def _imdecode(data: Any, *arguments: Any) -> Any:
    if MARK in bytes(data):
        signal.raise_signal(signal.SIGSEGV)  # in this thread, which does not go on, as after a bad access
    return _decode(data, *arguments)


cv2.imdecode = _imdecode
