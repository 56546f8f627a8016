"""The named resize kernels, each equal to the library that models were trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.resample_torch import resize_like_torch
from pipelines.specs import Resample
from pipelines.types import AnyArray

Resampler: TypeAlias = Callable[[AnyArray, tuple[int, int], AnyArray | None], AnyArray]


def _opencv(interpolation: int) -> Resampler:
    """Kernel of ``cv2.resize``: no antialiasing (but ``INTER_AREA`` averages when it shrinks)."""

    def resample(image: AnyArray, size_hw: tuple[int, int], out: AnyArray | None) -> AnyArray:
        if out is not None and not _is_opencv_layout(out):
            out[...] = resample(image, size_hw, None)
            return out
        made = cv2.resize(image, size_hw[::-1], dst=out, interpolation=interpolation)
        return made.reshape(*size_hw, *image.shape[2:]) if out is None else out

    return resample


def _is_opencv_layout(array: AnyArray) -> bool:
    """Whether pixels of a line lie side by side, so that OpenCV works on ``array`` in place."""
    return array[0].flags.c_contiguous and (len(array) == 1 or array.strides[0] >= array[0].nbytes)


def _pillow(kernel: Image.Resampling) -> Resampler:
    """Kernel of ``PIL.Image.resize``: widened when it shrinks, so that every source pixel counts (antialiasing)."""

    def resample(image: AnyArray, size_hw: tuple[int, int], out: AnyArray | None) -> AnyArray:
        planes = [image] if image.ndim == 2 or _is_pillow_colour(image) else list(np.moveaxis(image, 2, 0))
        made = [np.array(Image.fromarray(plane).resize(size_hw[::-1], kernel)) for plane in planes]
        pixels = (made[0] if len(made) == 1 else np.stack(made, axis=2)).reshape(*size_hw, *image.shape[2:])
        if out is None:
            return pixels
        out[...] = pixels
        return out

    return resample


def _is_pillow_colour(image: AnyArray) -> bool:
    return image.dtype == np.uint8 and image.shape[2] == 3


def _torch(*, antialias: bool) -> Resampler:
    """Kernel of torchvision's resize of tensors."""

    def resample(image: AnyArray, size_hw: tuple[int, int], out: AnyArray | None) -> AnyArray:
        pixels = resize_like_torch(image, size_hw, antialias=antialias)
        if out is None:
            return pixels
        out[...] = pixels
        return out

    return resample


def _nearest(image: AnyArray, size_hw: tuple[int, int], out: AnyArray | None) -> AnyArray:
    """The source pixel under each target pixel's centre.

    Equal to ``PIL.Image.NEAREST``, whose steps are added up in float64: that decides where a centre lies on the edge
    between two pixels. ``cv2.INTER_NEAREST`` looks at corners instead and shifts by half a pixel.
    """
    rows, columns = (_centres(source, target) for source, target in zip(image.shape[:2], size_hw, strict=True))
    picked = image[rows][:, columns]
    if out is None:
        return picked
    out[...] = picked
    return out


def _centres(source: int, target: int) -> NDArray[np.int64]:
    steps = np.full(target, source / target)
    steps[0] *= 0.5
    return np.cumsum(steps).astype(np.int64).clip(max=source - 1)


RESAMPLERS: Mapping[Resample, Resampler] = MappingProxyType(
    {
        "opencv_linear": _opencv(cv2.INTER_LINEAR),
        "opencv_area": _opencv(cv2.INTER_AREA),
        "opencv_cubic": _opencv(cv2.INTER_CUBIC),
        "opencv_lanczos4": _opencv(cv2.INTER_LANCZOS4),
        "pil_bilinear": _pillow(Image.Resampling.BILINEAR),
        "pil_bicubic": _pillow(Image.Resampling.BICUBIC),
        "pil_lanczos": _pillow(Image.Resampling.LANCZOS),
        "torch_bilinear": _torch(antialias=False),
        "torch_bilinear_antialias": _torch(antialias=True),
        "nearest": _nearest,
    }
)


def resize(image: AnyArray, size_hw: tuple[int, int], kernel: Resample, out: AnyArray | None = None) -> AnyArray:
    """Resize ``(h, w)`` or ``(h, w, 1 or 3)`` pixels of uint8 or float32.

    Args:
        image: not changed; need not be contiguous.
        size_hw: of the result.
        kernel: a key of ``RESAMPLERS``.
        out: array of the result's shape and dtype to write into, such as a slice of a padded row; the OpenCV kernels
            fill it without a copy in between. It must not overlap ``image``.

    Returns:
        ``out``, or a new array, of ``image``'s dtype and number of dimensions.

    Raises:
        ValueError: an array's shape or dtype is not as above.
    """
    known = image.dtype in (np.uint8, np.float32) and (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))
    )
    if not known or image.size == 0:
        raise ValueError(
            f"image must be uint8 or float32 (h, w), (h, w, 1) or (h, w, 3), got {image.dtype} {image.shape}"
        )
    if min(size_hw) < 1:
        raise ValueError(f"size_hw must be at least 1 x 1, got {size_hw[0]} x {size_hw[1]}")
    shape = (*size_hw, *image.shape[2:])
    if out is not None and (out.shape != shape or out.dtype != image.dtype):
        raise ValueError(f"out must be {image.dtype} {shape}, got {out.dtype} {out.shape}")
    return RESAMPLERS[kernel](image, size_hw, out)
