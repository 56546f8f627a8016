"""What a training run is: strict, read from TOML, every error named by its key."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from export.nets.specs import ModelSpec
from export.training.augment.spec import Augment
from export.training.losses.specs import LossSpec
from pipelines.errors import RecipeError
from pipelines.manifest import NAME_PATTERN, first_problem
from pipelines.specs import Count, ImageSpec, Positive, Probability, Spec

NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Memory: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
"""Share of a running mean that goes on; at 1 nothing new would ever come in."""


class Sgd(Spec):
    """Stochastic gradient descent with momentum (torch's form; ``nesterov`` as arXiv:1212.0901).

    Weight decay of every optimiser acts on weights alone: biases and the gains of norms are left to themselves.
    """

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 0.01
    momentum: Probability = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 5e-4

    @model_validator(mode="after")
    def _looks_ahead_with_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0")
        return self


class RmsProp(Spec):
    """RMSprop (Hinton, lecture 6e), as the MobileNets and EfficientNets were trained."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Positive = 1e-3
    alpha: Probability = 0.9
    momentum: Probability = 0.9
    weight_decay: NotNegative = 1e-5


class Adam(Spec):
    """Adam (arXiv:1412.6980); its weight decay is a part of the gradient."""

    kind: Literal["adam"] = "adam"
    learning_rate: Positive = 1e-3
    betas: tuple[Memory, Memory] = (0.9, 0.999)
    weight_decay: NotNegative = 0.0


class AdamW(Spec):
    """Adam with weight decay beside the gradient (arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    betas: tuple[Memory, Memory] = (0.9, 0.999)
    weight_decay: NotNegative = 0.05


OptimizerSpec: TypeAlias = Annotated[Sgd | RmsProp | Adam | AdamW, Field(discriminator="kind")]


class CosineSchedule(Spec):
    """Linear warm-up, then half a cosine (arXiv:1608.03983, without restarts).

    Attributes:
        warmup_epochs: from near 0 to the learning rate.
        final_fraction: of the learning rate, at the end.
    """

    warmup_epochs: NotNegative = 0.0
    final_fraction: Probability = 0.0


class LoopSpec(Spec):
    """How the loop runs.

    Attributes:
        epochs: passes over the training samples.
        batch_size: samples a step, on each device.
        evaluate_every: epochs from one evaluation to the next; the last epoch is always evaluated.
        checkpoint_every: steps from one checkpoint to the next within an epoch; null: at the end of each epoch alone.
        clip_norm: largest L2 norm of all gradients together; null: no limit.
        ema_decay: the model that is evaluated and kept is a moving average of the weights; null: the weights.
        patience: stop when so many evaluations brought nothing better; null: never.
        keep: the model of the ``best`` evaluation, or of the ``last``. With no split beside train and test, ``best``
            would choose by the very images that it is then judged by.
        freeze: beginnings of parameter names that are not trained; norms below them keep their statistics.
        accelerator: ``auto``, ``cpu``, ``cuda``; several devices share each batch.
        devices: how many.
        precision: ``32-true``, or mixed: weights in float32, arithmetic where it is safe in fewer bits.
        workers: processes that make samples; 0: the loop's own.
    """

    epochs: Count = 10
    batch_size: Count = 32
    evaluate_every: Count = 1
    checkpoint_every: Count | None = None
    clip_norm: Positive | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    patience: Count | None = None
    keep: Literal["best", "last"] = "best"
    freeze: tuple[str, ...] = ()
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Count = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    workers: Annotated[int, Field(ge=0, le=256)] = 0


class DataSpec(Spec):
    """Which images: ``--data`` is the folder that the paths start from.

    Attributes:
        format: name of a reader; null: as the files show.
        train: folder or file below ``--data``.
        test: held-out images, likewise; null: some of the training images, drawn by the seed.
        test_fraction: of the images of each class, or of the people, where ``test`` is null.
        on_error: a file that cannot be used is left out and named (``skip``), or ends the run (``refuse``).
    """

    format: str | None = None
    train: str = "."
    test: str | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    on_error: Literal["skip", "refuse"] = "refuse"


class TrainConfig(Spec):
    """A whole run.

    Attributes:
        name: of the model and of the run's folder.
        description: one line.
        license: of the weights.
        source: where the data comes from.
        seed: of everything that is random.
        data: which images.
        model: which network.
        weights: a file to start from (a state dict, or a ``model.pt``); what fits by name and shape is taken.
        image: how images become rows; null: the model's own way.
        loss: null: the task's usual one.
        augment: what is done to training images.
        optimizer: with its learning rate.
        schedule: of the learning rate.
        loop: how long, how fast, on what.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str = ""
    license: str = "not stated"
    source: str = "not stated"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    data: DataSpec = DataSpec()
    model: ModelSpec
    weights: str | None = None
    image: ImageSpec | None = None
    loss: LossSpec | None = None
    augment: Augment = Augment()
    optimizer: OptimizerSpec = AdamW()
    schedule: CosineSchedule = CosineSchedule()
    loop: LoopSpec = LoopSpec()

    @model_validator(mode="after")
    def _warms_up_in_time(self) -> Self:
        if self.schedule.warmup_epochs >= self.loop.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be below loop.epochs {self.loop.epochs}, "
                f"got {self.schedule.warmup_epochs}"
            )
        return self


def read_config(path: Path) -> TrainConfig:
    """Read a TOML file; raises RecipeError with the key that is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    try:
        return TrainConfig.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_problem(error, raw)}") from error
