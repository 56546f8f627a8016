"""Decoded images of a data set, kept in memory as long as they fit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from export.data.dataset import DatasetError, Sample
from pipelines.errors import ImageDecodeError, ImageTooLargeError
from pipelines.image import decode_image
from pipelines.specs import ImageSpec
from pipelines.types import ByteArray

CACHE_BYTES = 2**30


class ImageReader:
    """Decodes as the image part of a recipe says; the images used last are kept, up to ``cache_bytes``."""

    def __init__(self, spec: ImageSpec, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._spec = spec
        self._limit = cache_bytes
        self._held: OrderedDict[Path, ByteArray] = OrderedDict()
        self._bytes = 0

    def read_labelled(self, sample: Sample) -> ByteArray:
        """The image of boxes or a mask; raises DatasetError also where it is not turned as these are."""
        image = self.read(sample.path)
        if image.shape[:2] != sample.size_hw:
            raise DatasetError(
                f"{sample.path} must be decoded as its labels lie, {sample.size_hw} with its EXIF orientation applied, "
                f"it is {image.shape[:2]}: image.exif is {self._spec.exif}"
            )
        return image

    def read(self, path: Path) -> ByteArray:
        """``(H, W, 3)`` uint8 RGB, not to be written into; raises DatasetError with the file's name."""
        if path in self._held:
            self._held.move_to_end(path)
            return self._held[path]
        try:
            image = decode_image(path.read_bytes(), exif=self._spec.exif, alpha=self._spec.alpha)
        except (ImageDecodeError, ImageTooLargeError) as error:
            raise DatasetError(f"{path}: {error}") from error
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
        image.flags.writeable = False
        self._held[path] = image
        self._bytes += image.nbytes
        while self._bytes > self._limit and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= dropped.nbytes
        return image
