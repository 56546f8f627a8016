"""Training a classifier: images by class, a loss over logits, top-1 and its relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from export.data.dataset import ClassTarget, Dataset
from export.evaluate import curves
from export.metrics.classification import ClassificationReport, classification_report
from export.nets import Architecture
from export.nets.torchvision_classifier import AUXILIARY_WEIGHT
from export.training.augment import Augment, Scene, augment
from export.training.inference import answer_images, pipeline_for
from export.training.losses import LossSpec, pixel_loss, require_pixel_loss
from export.training.pictures import contact_sheet
from export.training.pixels import ImageReader
from export.training.sampling import planes_last, shuffled_batches
from pipelines.draw import draw
from pipelines.errors import RecipeError
from pipelines.image import decode_image
from pipelines.preprocess import preprocess
from pipelines.types import AnyArray, ByteArray, Classification

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
_SHOWN, _COLUMNS, _SIDE = 24, 8, 128


class ClassificationTask:
    """See :class:`export.training.task.Task`; a batch is rows and class ids."""

    main_metric = "top1"

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
        if len(train.labels) < 2:
            raise RecipeError(f"there must be at least 2 classes to tell apart, got {', '.join(train.labels)}")
        self._image = architecture.image
        self._train, self._test = train, test
        self._loss = require_pixel_loss(loss, task="classification")
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._reader = ImageReader(architecture.image)
        self._pipeline = pipeline_for(architecture.image, architecture.head, train.labels)

    def batches(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        """Every training image once."""
        return shuffled_batches(len(self._train), self._batch_size, rng)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[AnyArray, int]:
        """A row and its class id."""
        image, class_id = self._labelled(self._train, index)
        scene = augment(Scene(image=image), self._augmentation, rng)
        return preprocess(scene.image, self._image)[0], class_id

    def collate(self, samples: Sequence[tuple[AnyArray, int]]) -> Batch:
        """Rows ``(N, C, H, W)`` float32 and class ids ``(N,)`` int64."""
        rows, class_ids = zip(*samples, strict=True)
        return planes_last(np.stack(rows)), torch.tensor(class_ids)

    def loss(self, module: nn.Module, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The loss of the logits, and at a third or so of its weight that of each auxiliary head."""
        rows, class_ids = batch
        answer = module(rows)
        if isinstance(answer, torch.Tensor):
            return {"loss": pixel_loss(answer, class_ids, self._loss)}
        main, *auxiliary = (pixel_loss(logits, class_ids, self._loss) for logits in answer)
        return {"loss": main + AUXILIARY_WEIGHT * torch.stack(auxiliary).sum(), "main": main}

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """Top-1, top-5, precision, recall and F1 over the classes, calibration."""
        return self._report(module).headline()

    def pictures(self, module: nn.Module) -> Mapping[str, ByteArray]:
        """The confusion matrix of all held-out images, and some of them with what they were taken for."""
        places = np.linspace(0, len(self._test) - 1, min(_SHOWN, len(self._test))).astype(int).tolist()
        images = [self._labelled(self._test, i)[0] for i in places]
        answers = answer_images(module, self._pipeline, images, batch_size=self._batch_size)
        tiles = [
            draw(contact_sheet([image], columns=1, side=_SIDE), answer)
            for image, answer in zip(images, answers, strict=True)
        ]
        confusion = curves.confusion(self._report(module).confusion, self._train.labels)
        return {
            "predictions": contact_sheet(tiles, columns=_COLUMNS, side=tiles[0].shape[0]),
            "confusion": decode_image(confusion, exif="ignore", alpha="white"),
        }

    def _report(self, module: nn.Module) -> ClassificationReport:
        images = (self._labelled(self._test, i)[0] for i in range(len(self._test)))
        answers = answer_images(module, self._pipeline, images, batch_size=self._batch_size)
        found = [answer for answer in answers if isinstance(answer, Classification)]
        return classification_report(
            np.array([s.target.class_id for s in self._test.samples if isinstance(s.target, ClassTarget)]),
            np.stack([answer.class_ids for answer in found]),
            np.stack([answer.scores for answer in found]),
            len(self._train.labels),
        )

    def _labelled(self, data: Dataset, index: int) -> tuple[ByteArray, int]:
        sample = data.samples[index]
        assert isinstance(sample.target, ClassTarget), "the reader gives one type of target"
        return self._reader.read(sample.path), sample.target.class_id
