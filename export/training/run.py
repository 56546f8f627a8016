"""From a config and its data to a run's folder: model, task, loop, and the file that export takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from export.data.dataset import BoxesTarget, Dataset
from export.nets import Architecture, build_model
from export.nets.embedding_net import TwinNet
from export.nets.grid_detector import fit_of
from export.nets.specs import EmbeddingNet, GridDetector, ModelSpec
from export.training.anchors import cluster_anchors, mean_best_iou
from export.training.checkpoint import MODEL_FILE, TrainedModel, save_trained
from export.training.config import TrainConfig
from export.training.discriminant import start_projection
from export.training.loop import Outcome, train
from export.training.pixels import ImageReader
from export.training.progress import Progress
from export.training.start import start_from
from export.training.state import STATE_FILE
from export.training.task import Task
from export.training.tasks.classify import ClassificationTask
from export.training.tasks.detect import DetectionTask
from export.training.tasks.embed import EmbeddingTask
from export.training.tasks.segment import SegmentationTask
from pipelines.errors import RecipeError
from pipelines.geometry import place
from pipelines.manifest import Metric
from pipelines.preprocess import preprocess
from pipelines.types import AnyArray

MakeTask: TypeAlias = Callable[..., Task]
TASKS: Mapping[str, MakeTask] = {
    "classification": ClassificationTask,
    "detection": DetectionTask,
    "embedding": EmbeddingTask,
    "segmentation": SegmentationTask,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingData:
    """What a run learns from and is judged by.

    Attributes:
        train: what it learns from.
        test: held-out images.
        split: one line that says how these were held out; every metric carries it.
        samples: encoded PNG images for golden results, by name; 1 to 4.
    """

    train: Dataset
    test: Dataset
    split: str
    samples: Mapping[str, bytes]


def run(
    config: TrainConfig, data: TrainingData, *, out: Path, resume: bool, source: str, progress: Progress
) -> Outcome:
    """Train as ``config`` says; ``out`` then holds ``model.pt``, the numbers, curves and pictures.

    Raises:
        RecipeError: model, loss, data and config do not belong together, or ``out`` holds a run that is not resumed.
    """
    if (out / STATE_FILE).exists() and not resume:
        raise RecipeError(f"{out} holds a run already: go on with --resume, or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    spec = with_anchors(config, data.train, progress)
    torch.manual_seed(config.seed)
    architecture = build_model(spec, num_classes=len(data.train.labels))
    if config.image is not None:
        architecture = replace(architecture, image=config.image)
        require_fitting_rows(architecture, data.train)
    if config.weights is not None:
        progress.line(start_from(architecture.module, Path(config.weights)))
    task = make_task(architecture, data, config)
    if isinstance(spec, EmbeddingNet) and spec.projection == "discriminant" and not resume:
        assert isinstance(architecture.module, TwinNet)
        told = start_projection(architecture.module, task, len(data.train), seed=config.seed)
        progress.line(told)

    def keep(module: nn.Module, metrics: Mapping[str, float]) -> None:
        trained = TrainedModel(
            module=module,
            image_spec=architecture.image,
            head_spec=architecture.head,
            labels=() if architecture.head.task == "embedding" else data.train.labels,
            metrics={name: Metric(value=value, split=data.split) for name, value in metrics.items()},
            name=config.name,
            description=config.description,
            license=config.license,
            source=source,
            model=spec,
            num_classes=len(data.train.labels),
            tools={"torch": torch.__version__, "numpy": np.__version__},
            samples=data.samples,
        )
        save_trained(trained, out / MODEL_FILE)

    return train(task, architecture.module, config, out=out, resume=resume, progress=progress, keep=keep)


def require_fitting_rows(architecture: Architecture, train: Dataset) -> None:
    """Answer a row of the first training image; raises RecipeError where the module does not take it."""
    image = ImageReader(architecture.image).read(train.samples[0].path)
    row = preprocess(image, architecture.image)[0]
    try:
        with torch.no_grad():
            architecture.module.eval()(torch.from_numpy(row[None]))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(
            f"image must make rows that the model takes, it makes {row.dtype} of shape {row.shape}: {reason}"
        ) from error


def make_task(architecture: Architecture, data: TrainingData, config: TrainConfig) -> Task:
    """The task of a model's head over the data; raises RecipeError where they do not belong together."""
    task = architecture.head.task
    if task not in TASKS:
        raise RecipeError(f"model.kind must be a model that can be trained: {', '.join(TASKS)}; got {task}")
    if data.train.task != task:
        raise RecipeError(f"model.kind {config.model.kind} is for {task}, the data are for {data.train.task}")
    if task != "embedding" and data.train.labels != data.test.labels:  # embeddings are judged by people never seen.
        raise RecipeError(f"train and test must have the same classes, got {data.train.labels} and {data.test.labels}")
    return TASKS[task](
        architecture,
        data.train,
        data.test,
        loss=config.loss,
        augmentation=config.augment,
        batch_size=config.loop.batch_size,
    )


def with_anchors(config: TrainConfig, train_data: Dataset, progress: Progress) -> ModelSpec:
    """The model of the config; where a grid detector's anchors are null, those that fit the training boxes best."""
    spec = config.model
    if not isinstance(spec, GridDetector) or spec.anchors is not None:
        return spec
    shapes = row_shapes(train_data, config, spec)
    count = spec.anchors_per_scale * len(spec.strides)
    try:
        found = cluster_anchors(shapes, count, np.random.default_rng(config.seed))
    except ValueError as error:
        raise RecipeError(f"model.anchors cannot be found in the training boxes: {error}") from error
    progress.line(f"{count} anchors fit {len(shapes)} boxes with a mean IoU of {mean_best_iou(shapes, found):.3f}")
    rounded = [(round(width, 2), round(height, 2)) for width, height in found.tolist()]
    size = spec.anchors_per_scale
    groups = tuple(tuple(rounded[start : start + size]) for start in range(0, count, size))
    return spec.model_copy(update={"anchors": groups})


def row_shapes(data: Dataset, config: TrainConfig, spec: GridDetector) -> AnyArray:
    """Widths and heights ``(N, 2)`` float64 of all boxes, in pixels of the rows that training makes of their images."""
    fit = config.image.fit if config.image is not None else fit_of(spec)
    shapes = []
    for sample in data.samples:
        if isinstance(sample.target, BoxesTarget):
            affine = place(fit, config.augment.crop_hw or sample.size_hw)
            boxes = sample.target.boxes[~sample.target.crowd].astype(np.float64)
            shapes.append((boxes[:, 2:] - boxes[:, :2]) * affine.scale_xy)
    return np.concatenate(shapes) if shapes else np.zeros((0, 2))
