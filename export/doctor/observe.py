"""Running a graph on images and noise, fed in several ways, to see what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from export.doctor.sighting import Said, Seen, Sighting
from pipelines.errors import GraphMismatchError, ModelOutputError, ModelRunError
from pipelines.session import Session
from pipelines.specs import TensorSpec
from pipelines.statistics import STATISTICS
from pipelines.types import AnyArray, ByteArray

# Not square, so that height and width can be told apart; multiples of 64. Then sizes that picky graphs may want.
_FREE_SIZES = ((256, 320), (320, 320), (640, 640), (224, 224))
_FEEDS = ("unit", "imagenet", "none")
_SEED = 0


@dataclass(frozen=True)
class InputForm:
    """How the only input is laid out.

    Attributes:
        layout: ``chw`` or ``hwc``.
        channels: 1 or 3.
        batch: the fixed batch, or ``None``.
        size_hw: the fixed size, ``None`` for a side that is free.
    """

    layout: str
    channels: int
    batch: int | None
    size_hw: tuple[int | None, int | None]


def input_form(spec: TensorSpec) -> InputForm:
    """Read the form off the declared shape; raises GraphMismatchError where it cannot hold images."""
    shape = [size if isinstance(size, int) and size > 0 else None for size in spec.shape]
    if len(shape) != 4:
        raise GraphMismatchError(f"input {spec.name!r} must have four axes, batch and image, got {list(spec.shape)}")
    for layout, channel, (row, column) in (("chw", 1, (2, 3)), ("hwc", 3, (1, 2))):
        channels = shape[channel]
        if channels in (1, 3) or (channels is None and layout == "chw" and shape[3] not in (1, 3)):
            return InputForm(layout, channels or 3, shape[0], (shape[row], shape[column]))
    raise GraphMismatchError(f"input {spec.name!r} must have an axis of 1 or 3 channels, got {list(spec.shape)}")


def observe(
    session: Session, images: Sequence[ByteArray], *, producer: str, num_labels: int | None, said: Said | None
) -> Sighting:
    """Run the graph on the first image and on noise, as pixels in 0..1, normalised and as they are.

    Raises:
        GraphMismatchError: the input holds no images, or the graph runs at no size.
        ModelOutputError: no run answered finite numbers.
    """
    spec = session.inputs[0]
    form = input_form(spec)
    problem = ""
    for size_hw in _sizes(form):
        try:
            answers = [_run(session, row, form.batch) for row in _rows(images, form, spec.dtype, size_hw)]
        except ModelRunError as error:
            problem = str(error)
            continue
        outputs, whole = _seen(answers, session.outputs)
        return Sighting(
            row_hw=size_hw,
            fixed_hw=None not in form.size_hw,
            layout=form.layout,
            channels=form.channels,
            dtype=spec.dtype,
            outputs=outputs,
            whole=whole,
            producer=producer,
            num_labels=num_labels,
            said=said,
        )
    raise GraphMismatchError(f"the graph runs at none of the sizes that were tried: {problem}")


def _sizes(form: InputForm) -> list[tuple[int, int]]:
    sizes = [(form.size_hw[0] or height, form.size_hw[1] or width) for height, width in _FREE_SIZES]
    return list(dict.fromkeys(sizes))


def _rows(images: Sequence[ByteArray], form: InputForm, dtype: str, size_hw: tuple[int, int]) -> Iterator[AnyArray]:
    """An image (or shapes, where there is none) and noise, with each feed; uint8 rows as they are."""
    random = np.random.default_rng(_SEED)
    noise = random.integers(0, 256, (*size_hw, 3), np.uint8)
    image = cv2.resize(images[0], size_hw[::-1], interpolation=cv2.INTER_AREA) if images else _shapes(size_hw)
    for feed in _FEEDS if dtype != "uint8" else ("none",):
        for pixels in (image, noise):
            yield _row(pixels, form, dtype, feed)


def _row(pixels: AnyArray, form: InputForm, dtype: str, feed: str) -> AnyArray:
    used = STATISTICS[feed]
    if form.channels == 1:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    values = (pixels / used.scale - np.array(used.mean[: form.channels])) / np.array(used.std[: form.channels])
    row: AnyArray = values.astype(dtype)
    return np.ascontiguousarray(row.transpose(2, 0, 1) if form.layout == "chw" else row)


def _shapes(size_hw: tuple[int, int]) -> AnyArray:
    """Discs and rectangles over a gradient: something to find where no image was given."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    image = np.stack((x * 255 // width, y * 255 // height, np.full_like(x, 90)), axis=-1).astype(np.uint8)
    cv2.circle(image, (width // 3, height // 3), height // 6, (220, 40, 40), -1)
    cv2.rectangle(image, (width // 2, height // 2), (width * 5 // 6, height * 5 // 6), (40, 200, 220), -1)
    return image


def _run(session: Session, row: AnyArray, batch: int | None) -> dict[str, AnyArray]:
    return session.run({session.inputs[0].name: np.repeat(row[None], batch or 1, axis=0)})


def _seen(
    answers: Sequence[dict[str, AnyArray]], specs: Sequence[TensorSpec]
) -> tuple[tuple[Seen, ...], tuple[Seen, ...]]:
    """Floating point outputs and whole-number ones, each without its batch axis; answers with NaN are left out."""
    finite = [
        answer
        for answer in answers
        if all(np.isfinite(value).all() for value in answer.values() if np.issubdtype(value.dtype, np.floating))
    ]
    if not finite:
        raise ModelOutputError("the graph must answer finite numbers, it answered NaN or infinity to every row")
    floating, whole = [], []
    for spec in specs:
        values = [answer[spec.name] for answer in finite]
        if values[0].ndim == 0 or values[0].dtype.kind not in "fiub" or any(not value.shape[0] for value in values):
            continue
        if values[0].dtype.kind == "f":
            floating.append(Seen(spec.name, tuple(value[0].astype(np.float32) for value in values)))
        else:
            whole.append(Seen(spec.name, tuple(value[0] for value in values)))
    return tuple(floating), tuple(whole)
