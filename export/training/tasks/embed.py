"""Training an embedding: images by identity, a loss over pairs or triplets, and telling unseen identities apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.data.dataset import Dataset, IdentityTarget
from export.evaluate import curves
from export.metrics.verification import VerificationReport, verification_report
from export.nets import Architecture
from export.training.augment import Augment, Scene, augment
from export.training.inference import answer_images, pipeline_for
from export.training.losses import (
    ArcFace,
    IdentityLoss,
    InfoNce,
    LossSpec,
    SameDifferent,
    Triplet,
    arcface,
    info_nce,
    same_different,
    triplet,
)
from export.training.pair_pictures import hardest_pairs
from export.training.pixels import ImageReader
from export.training.sampling import planes_last
from export.training.sampling_identities import identity_batches
from pipelines.errors import RecipeError
from pipelines.image import decode_image
from pipelines.preprocess import preprocess
from pipelines.types import AnyArray, ByteArray, Embedding

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]


class EmbeddingTask:
    """See :class:`export.training.task.Task`; a batch is rows and identities, some images of each."""

    main_metric = "auc"  # a rate at one FAR of few people moves in steps; the area does not.

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
        self._loss = _identity_loss(loss)
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._reader = ImageReader(architecture.image)
        self._pipeline = pipeline_for(architecture.image, architecture.head, ())
        self._identities = identities_of(train)
        _require_pairs(identities_of(test))
        try:
            self.batches(np.random.default_rng(0))
        except ValueError as error:
            raise RecipeError(f"train: {error}") from error

    def batches(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        """Batches of some identities, each with some of its images."""
        return identity_batches(
            self._identities.tolist(), batch_size=self._batch_size, images_each=self._loss.images_each, rng=rng
        )

    def sample(self, index: int, rng: np.random.Generator) -> tuple[AnyArray, int]:
        """A row and its identity."""
        scene = augment(Scene(image=self._read(self._train, index)), self._augmentation, rng)
        return preprocess(scene.image, self._image)[0], int(self._identities[index])

    def collate(self, samples: Sequence[tuple[AnyArray, int]]) -> Batch:
        """Rows ``(N, C, H, W)`` float32 and identities ``(N,)`` int64."""
        rows, identities = zip(*samples, strict=True)
        return planes_last(np.stack(rows)), torch.tensor(identities)

    def loss(self, module: nn.Module, batch: Batch) -> Mapping[str, torch.Tensor]:
        """The loss of the vectors, or of what the module's head makes of them; raises RecipeError without that head."""
        rows, identities = batch
        answer = module(rows)
        vectors, behind = answer if isinstance(answer, tuple) else (answer, None)
        match self._loss:
            case Triplet():
                return {"loss": triplet(vectors, identities, margin=self._loss.margin)}
            case InfoNce():
                return {"loss": info_nce(vectors, identities, temperature=self._loss.temperature)}
            case ArcFace():
                cosines = _required(behind, "classes", self._loss)
                return {"loss": arcface(cosines, identities, margin=self._loss.margin, scale=self._loss.scale)}
            case SameDifferent():
                return {"loss": same_different(_required(behind, "pairs", self._loss), identities)}

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """AUC, EER and TAR at FAR over all pairs of held-out images."""
        return self._report(module).headline()

    def pictures(self, module: nn.Module) -> Mapping[str, ByteArray]:
        """The ROC, the cosines of all pairs, and the pairs that are hardest to judge."""
        report = self._report(module)
        drawn = {"roc": curves.roc(report), "scores": curves.pair_scores(report)}
        pairs = hardest_pairs(report.pairs, lambda index: self._read(self._test, index))
        return {
            "pairs": pairs,
            **{name: decode_image(png, exif="ignore", alpha="white") for name, png in drawn.items()},
        }

    def _report(self, module: nn.Module) -> VerificationReport:
        images = (self._read(self._test, i) for i in range(len(self._test)))
        answers = answer_images(module, self._pipeline, images, batch_size=self._batch_size)
        vectors = np.stack([answer.vector for answer in answers if isinstance(answer, Embedding)])
        return verification_report(vectors, identities_of(self._test))

    def _read(self, data: Dataset, index: int) -> ByteArray:
        return self._reader.read(data.samples[index].path)


def identities_of(data: Dataset) -> NDArray[np.int64]:
    """``(N,)`` indices into the labels of ``data``."""
    return np.array([s.target.identity for s in data.samples if isinstance(s.target, IdentityTarget)], np.int64)


def _require_pairs(identities: NDArray[np.int64]) -> None:
    counts = np.unique(identities, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        raise RecipeError(
            f"test must show at least 2 identities, one of them twice; it shows {len(counts)}, at most "
            f"{counts.max()} times"
        )


def _identity_loss(loss: LossSpec | None) -> IdentityLoss:
    if loss is not None and not isinstance(loss, IdentityLoss):
        raise RecipeError(f"loss.kind must be one of embedding, got {loss.kind}")
    return loss or Triplet()


def _required(behind: torch.Tensor | None, head: str, loss: IdentityLoss) -> torch.Tensor:
    if behind is None:
        raise RecipeError(f"model.head must be {head!r} for the loss {loss.kind}, the model has none")
    return behind
