"""How far the images of a stream run ahead of the answers that were taken."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Self

from serving.client.results import Image

# Of a stream that does not say: the server's own window, where the operator leaves it as it is.
USUAL_WINDOW = 8


def ahead_of(window: int) -> int:
    """Most images taken and not yet answered for: a window in work, and the next one on its way."""
    return 2 * max(window, 0) or 2 * USUAL_WINDOW


class Pace:
    """Between the thread that takes images from a source and the one that takes answers; a context manager."""

    def __init__(self, ahead: int | None) -> None:
        """``ahead`` images may be taken before the first answer is; ``None``: any number."""
        self._room = None if ahead is None else threading.Semaphore(ahead)
        self._ended = False

    def of(self, images: Iterable[Image]) -> Iterator[Image]:
        """Each image as soon as there is room for it, until the end is told; waits before it asks for the next one."""
        source = iter(images)
        while True:
            if self._room is not None:
                self._room.acquire()
            if self._ended:
                return
            try:
                image = next(source)
            except StopIteration:
                return
            yield image

    def taken(self) -> None:
        """An answer was taken."""
        if self._room is not None:
            self._room.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """No image is wanted any more."""
        self._ended = True
        self.taken()
