"""Training a detector: boxes that follow every augmentation, the model's own loss, average precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.data.dataset import BoxesTarget, Dataset
from export.metrics.detection import FoundBoxes, detection_report
from export.nets import Architecture
from export.training.augment import Augment, Scene, augment
from export.training.inference import answer_images, pipeline_for
from export.training.losses import Grid, GridTargets, LossSpec, grid_loss
from export.training.pictures import contact_sheet
from export.training.pixels import ImageReader
from export.training.sampling import planes_last, shuffled_batches
from export.training.windows import windows_of
from pipelines.draw import draw
from pipelines.errors import RecipeError
from pipelines.options import PredictOptions
from pipelines.preprocess import preprocess
from pipelines.specs import BoxDelta, DetectionHead, YoloGrid
from pipelines.types import AnyArray, ByteArray, Detections, FloatArray

SCORE_FLOOR = 0.01  # of average precision: below it the curve is flat, and suppression slow.
_SHOWN, _COLUMNS, _SIDE = 6, 3, 512


@dataclass(frozen=True, eq=False)
class BoxedRow:
    """A row ``(C, H, W)`` float32 and its objects: boxes ``(N, 4)`` float32 xyxy in row pixels, class ids ``(N,)``."""

    row: AnyArray
    boxes: FloatArray
    class_ids: NDArray[np.int64]


class DetectionTask:
    """See :class:`export.training.task.Task`; a batch is rows, and rows, boxes and class ids of all objects."""

    main_metric = "ap50"

    def __init__(
        self,
        architecture: Architecture,
        train: Dataset,
        test: Dataset,
        *,
        loss: LossSpec | None,
        augmentation: Augment,
        batch_size: int,
    ) -> None:
        assert isinstance(architecture.head, DetectionHead), "a detection task has a detection head"
        _require_objects(train, "train")
        _require_objects(test, "the held-out images")
        self._image, self._head = architecture.image, architecture.head
        self._train, self._test = train, test
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._reader = ImageReader(architecture.image)
        self._pipeline = pipeline_for(architecture.image, architecture.head, train.labels)
        self._loss = _loss_of(architecture.head, loss)

    def batches(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        """Every training image once, or so many windows of it."""
        repeats = [windows_of(sample.size_hw, self._augmentation) for sample in self._train.samples]
        return shuffled_batches(len(self._train), self._batch_size, rng, repeats=repeats)

    def sample(self, index: int, rng: np.random.Generator) -> BoxedRow:
        """A row and its objects; crowds are not taught."""
        image, target = self._boxed(self._train, index)
        single = ~target.crowd
        scene = Scene(image=image, boxes=target.boxes[single], class_ids=target.class_ids[single])
        scene = augment(scene, self._augmentation, rng)
        row, affine = preprocess(scene.image, self._image)
        return BoxedRow(row, affine.boxes_to_row(scene.boxes), scene.class_ids)

    def collate(self, samples: Sequence[BoxedRow]) -> dict[str, torch.Tensor]:
        """``rows (N, C, H, W)``; of all ``M`` objects ``of_row``, ``boxes (M, 4)`` and ``class_ids``.

        Rows of several sizes are padded right and bottom with zeros to the largest.
        """
        shape = np.max([sample.row.shape for sample in samples], axis=0)
        rows = np.zeros((len(samples), *shape), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            row[:, : sample.row.shape[1], : sample.row.shape[2]] = sample.row
        counts = [len(sample.boxes) for sample in samples]
        return {
            "rows": planes_last(rows),
            "of_row": torch.from_numpy(np.repeat(np.arange(len(samples)), counts)),
            "boxes": torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
            "class_ids": torch.from_numpy(np.concatenate([sample.class_ids for sample in samples])),
        }

    def loss(self, module: nn.Module, batch: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Our grid's loss, or what a torchvision detector answers when it is given targets."""
        decoder = self._head.decoder
        if self._loss is not None:
            assert isinstance(decoder, YoloGrid), "only a grid has a loss of ours"
            anchors = [torch.tensor(sizes, device=batch["rows"].device) for sizes in decoder.anchors]
            targets = GridTargets(batch["of_row"], batch["boxes"], batch["class_ids"])
            return grid_loss(module(batch["rows"]), targets, self._loss, strides=decoder.strides, anchors=anchors)
        first = 1 if isinstance(decoder, BoxDelta) and decoder.background == "first" else 0
        given = [
            {"boxes": batch["boxes"][batch["of_row"] == i], "labels": batch["class_ids"][batch["of_row"] == i] + first}
            for i in range(len(batch["rows"]))
        ]
        parts = dict(module(batch["rows"], given))
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """Average precision as COCO defines it, at the head's own limit of detections an image."""
        images = (self._boxed(self._test, i)[0] for i in range(len(self._test)))
        found = [
            FoundBoxes(answer.boxes, answer.scores, answer.class_ids)
            for answer in self._answers(module, images, SCORE_FLOOR)
        ]
        report = detection_report(
            [sample.target for sample in self._test.samples if isinstance(sample.target, BoxesTarget)],
            found,
            len(self._train.labels),
            max_detections=self._head.max_detections,
        )
        return report.headline()

    def pictures(self, module: nn.Module) -> Mapping[str, ByteArray]:
        """Held-out images with the boxes that a caller would get."""
        images = [self._boxed(self._test, i)[0] for i in range(min(_SHOWN, len(self._test)))]
        tiles = [draw(image, answer) for image, answer in zip(images, self._answers(module, images, None), strict=True)]
        return {"predictions": contact_sheet(tiles, columns=min(_COLUMNS, len(tiles)), side=_SIDE)}

    def _answers(
        self, module: nn.Module, images: Iterable[ByteArray], score_threshold: float | None
    ) -> list[Detections]:
        options = PredictOptions(score_threshold=score_threshold)
        answers = answer_images(module, self._pipeline, images, options=options, batch_size=self._batch_size)
        return [answer for answer in answers if isinstance(answer, Detections)]

    def _boxed(self, data: Dataset, index: int) -> tuple[ByteArray, BoxesTarget]:
        sample = data.samples[index]
        assert isinstance(sample.target, BoxesTarget), "the reader gives one type of target"
        return self._reader.read_labelled(sample), sample.target


def _require_objects(data: Dataset, which: str) -> None:
    if not any(isinstance(s.target, BoxesTarget) and not s.target.crowd.all() for s in data.samples):
        raise RecipeError(f"{which} must show at least one object, {len(data)} images show none")


def _loss_of(head: DetectionHead, loss: LossSpec | None) -> Grid | None:
    """The grid's loss; ``None`` for a torchvision detector, which has its own."""
    if isinstance(head.decoder, YoloGrid):
        if loss is not None and not isinstance(loss, Grid):
            raise RecipeError(f"loss.kind must be grid for a grid detector, got {loss.kind}")
        return loss or Grid()
    if loss is not None:
        raise RecipeError(f"loss must be left out for a torchvision detector, which has its own, got {loss.kind}")
    return None
