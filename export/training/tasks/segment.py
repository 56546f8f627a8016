"""Training a segmenter: masks that follow every augmentation, a loss of every pixel, mIoU and Dice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from export.data.dataset import IGNORED, Dataset, MaskTarget
from export.metrics.segmentation import pixel_confusion, segmentation_report
from export.nets import Architecture
from export.training.augment import Augment, Scene, augment
from export.training.inference import answer_images, pipeline_for
from export.training.losses import NOT_COUNTED, LossSpec, pixel_loss, require_pixel_loss
from export.training.mask_rows import mask_to_row
from export.training.pictures import contact_sheet
from export.training.pixels import ImageReader
from export.training.sampling import planes_last, shuffled_batches
from export.training.windows import windows_of
from pipelines.draw import draw
from pipelines.preprocess import preprocess
from pipelines.types import AnyArray, ByteArray, SegmentationMap

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
_SHOWN, _COLUMNS, _SIDE = 6, 2, 640


class SegmentationTask:
    """See :class:`export.training.task.Task`; a batch is rows and their class maps."""

    main_metric = "miou"

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
        self._image = architecture.image
        self._train, self._test = train, test
        self._loss = require_pixel_loss(loss, task="segmentation")
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._reader = ImageReader(architecture.image)
        self._pipeline = pipeline_for(architecture.image, architecture.head, train.labels)

    def batches(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        """Every training image once, or so many windows of it."""
        repeats = [windows_of(sample.size_hw, self._augmentation) for sample in self._train.samples]
        return shuffled_batches(len(self._train), self._batch_size, rng, repeats=repeats)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[AnyArray, AnyArray]:
        """A row ``(C, H, W)`` float32 and its class map ``(H, W)`` uint8."""
        scene = Scene(image=self._image_of(self._train, index), mask=self._truth(self._train, index))
        scene = augment(scene, self._augmentation, rng)
        assert scene.mask is not None, "augmentation keeps the mask"
        row, affine = preprocess(scene.image, self._image)
        return row, mask_to_row(scene.mask, affine)

    def collate(self, samples: Sequence[tuple[AnyArray, AnyArray]]) -> Batch:
        """Rows ``(N, C, H, W)`` float32 and class ids ``(N, H, W)`` int64, ``NOT_COUNTED`` where no class counts.

        Rows of several sizes are padded right and bottom with zeros to the largest; padding is not counted.
        """
        height, width = np.max([mask.shape for _, mask in samples], axis=0)
        rows = np.zeros((len(samples), samples[0][0].shape[0], height, width), np.float32)
        masks = np.full((len(samples), height, width), NOT_COUNTED, np.int64)
        for i, (row, mask) in enumerate(samples):
            rows[i, :, : mask.shape[0], : mask.shape[1]] = row
            masks[i, : mask.shape[0], : mask.shape[1]] = np.where(mask == IGNORED, NOT_COUNTED, mask.astype(np.int64))
        return planes_last(rows), torch.from_numpy(masks)

    def loss(self, module: nn.Module, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The loss of the logits at every pixel of the rows that shows an image."""
        rows, masks = batch
        return {"loss": pixel_loss(module(rows), masks, self._loss)}

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """IoU, Dice and pixel accuracy at the images' own sizes, pixels of all images counted together."""
        images = (self._image_of(self._test, i) for i in range(len(self._test)))
        confusions = [
            pixel_confusion(self._truth(self._test, i), answer.class_map, len(self._train.labels), ignored=IGNORED)
            for i, answer in enumerate(self._answers(module, images))
        ]
        return segmentation_report(confusions).headline()

    def pictures(self, module: nn.Module) -> Mapping[str, ByteArray]:
        """Held-out images with the masks that a caller would get, the true ones beside them."""
        images = [self._image_of(self._test, i) for i in range(min(_SHOWN, len(self._test)))]
        tiles = []
        for i, answer in enumerate(self._answers(module, images)):
            truth, image = self._truth(self._test, i), images[i]
            shown = np.where(truth == IGNORED, 0, truth).astype(answer.class_map.dtype)
            tiles += [draw(image, answer), draw(image, SegmentationMap(shown, None, self._train.labels))]
        return {"predictions": contact_sheet(tiles, columns=_COLUMNS, side=_SIDE)}

    def _answers(self, module: nn.Module, images: Iterable[ByteArray]) -> Iterator[SegmentationMap]:
        answers = answer_images(module, self._pipeline, images, batch_size=self._batch_size)
        return (answer for answer in answers if isinstance(answer, SegmentationMap))

    def _image_of(self, data: Dataset, index: int) -> ByteArray:
        return self._reader.read_labelled(data.samples[index])

    def _truth(self, data: Dataset, index: int) -> AnyArray:
        target = data.samples[index].target
        assert isinstance(target, MaskTarget), "the reader gives one type of target"
        return target.class_map()
