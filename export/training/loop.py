"""The training loop, from seed to weights, for every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from export.training.config import LoopSpec, TrainConfig
from export.training.ema import Ema
from export.training.journal import Journal
from export.training.loading import epoch_places, load_batches
from export.training.optim import freeze, make_optimizer, train_mode
from export.training.progress import Progress, describe
from export.training.schedule import rate_factor
from export.training.state import STATE_FILE, Progressed, load_state, save_state
from export.training.task import Task
from pipelines.errors import RecipeError
from pipelines.present import encode_png

PICTURES = "pictures"
Keep = Callable[[nn.Module, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        epochs: how many were run in all, resumed ones included.
        kept_epoch: the epoch of the model that was kept.
        metrics: of that model.
    """

    epochs: int
    kept_epoch: int
    metrics: Mapping[str, float]


def train(
    task: Task, module: nn.Module, config: TrainConfig, *, out: Path, resume: bool, progress: Progress, keep: Keep
) -> Outcome:
    """Train ``module`` in place, write the run into ``out``, call ``keep`` with each model that is to be kept.

    Randomness is drawn from ``(seed, epoch)`` for the order, ``(seed, epoch, place)`` for augmentation and ``(seed,
    step, rank)`` for dropout, never from where a generator happens to stand: a run that was interrupted anywhere ends
    with the same bits as one that was not.

    Raises:
        RecipeError: there is nothing to resume, the config changed since, or the loss became NaN or infinite.
    """
    plan = config.loop
    fabric, scaler = _devices(plan)
    # Else cuDNN may choose sums whose order changes: on one H100 the same 12 steps gave weights 2e-3 apart.
    torch.backends.cudnn.deterministic = True
    module.to(memory_format=torch.channels_last)  # convolutions run up to twice as fast.
    freeze(module, plan.freeze)
    optimizer = make_optimizer(module, config.optimizer)
    wrapped, stepper = fabric.setup(module, optimizer)
    ema = Ema(module, plan.ema_decay) if plan.ema_decay else None
    parts = {"module": module, "optimizer": optimizer, "ema": ema, "scaler": scaler}
    now = _resume(out, config, parts) if resume else Progressed()
    judged = ema.module if ema else module

    with Journal(out, resumed_at=now.epoch, active=fabric.is_global_zero) as journal:
        if now.history:  # a run that died after its state was saved may not have written its last row.
            journal.write(now.history)
        while now.epoch < plan.epochs and not _is_stale(now, plan):
            began = time.monotonic()
            places = epoch_places(
                task, seed=config.seed, epoch=now.epoch, rank=fabric.global_rank, world_size=fabric.world_size
            )
            if not places:
                raise RecipeError("there must be at least one batch for each device, there are too few samples")
            train_mode(module, plan.freeze)
            for batch in _batches(fabric, task, places[now.step :], config, now.epoch):
                step = now.epoch * len(places) + now.step
                factor = rate_factor(step, config.schedule, steps_per_epoch=len(places), epochs=plan.epochs)
                for group in optimizer.param_groups:
                    group["lr"] = config.optimizer.learning_rate * factor
                torch.manual_seed(_mix(config.seed, step, fabric.global_rank))

                stepper.zero_grad()
                losses = _losses(task, wrapped, batch)
                fabric.backward(losses["loss"])
                if plan.clip_norm is not None:
                    fabric.clip_gradients(wrapped, stepper, max_norm=plan.clip_norm, error_if_nonfinite=False)
                stepper.step()
                if ema:
                    ema.update(module)

                now.step += 1
                _add(now.sums, _told_to_all(fabric, losses), step=step)
                progress.step(step + 1, len(places) * plan.epochs, f"epoch {now.epoch + 1}/{plan.epochs}")
                if plan.checkpoint_every and now.step % plan.checkpoint_every == 0 and now.step < len(places):
                    _save(fabric, out, now, config, parts)

            row = _finish_epoch(now, len(places), rate=optimizer.param_groups[0]["lr"])
            if now.epoch % plan.evaluate_every == 0 or now.epoch == plan.epochs:
                metrics = _evaluate(fabric, task, judged, out / PICTURES)
                row |= metrics
                if _is_kept(now, plan, metrics, metrics[task.main_metric]) and fabric.is_global_zero:
                    keep(judged, metrics)
            now.history.append(row | {"seconds": round(time.monotonic() - began, 3)})
            _save(fabric, out, now, config, parts)
            journal.write(now.history)
            progress.line(describe(now.history[-1], epochs=plan.epochs))
    return Outcome(epochs=now.epoch, kept_epoch=now.kept_epoch, metrics=now.kept)


def _devices(plan: LoopSpec) -> tuple[Fabric, Any]:
    """Fabric, launched, and the scaler of gradients where float16 needs one; raises RecipeError without the devices."""
    there = torch.cuda.device_count()
    if plan.accelerator == "cuda" and plan.devices > there:
        raise RecipeError(f"loop.devices must be CUDA devices that are there, {plan.devices} asked for, {there} there")
    if plan.precision != "16-mixed":
        fabric = Fabric(accelerator=plan.accelerator, devices=plan.devices, precision=plan.precision)
        fabric.launch()
        return fabric, None
    kind = "cuda" if plan.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    scaler = torch.amp.GradScaler(kind)  # ours, so that its state can be saved.
    fabric = Fabric(
        accelerator=plan.accelerator, devices=plan.devices, plugins=MixedPrecision("16-mixed", kind, scaler)
    )
    fabric.launch()
    return fabric, scaler


def _batches(fabric: Fabric, task: Task, places: Any, config: TrainConfig, epoch: int) -> Any:
    """The batches of one epoch, from where it stands, on the device."""
    cuda = fabric.device.type == "cuda"
    for batch in load_batches(
        task, places, seed=config.seed, epoch=epoch, workers=config.loop.workers, pin_memory=cuda
    ):
        yield fabric.to_device(batch)


def _losses(task: Task, module: Any, batch: Any) -> Mapping[str, torch.Tensor]:
    """The task's losses of a batch; raises RecipeError where it is too small for the model's norms."""
    try:
        return task.loss(module, batch)
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
        raise RecipeError(
            "loop.batch_size must be 2 or more for this model: its norms cannot learn from one value a channel"
        ) from error


def _mix(*parts: int) -> int:
    """One seed of several numbers, so that neighbours are unlike."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def _told_to_all(fabric: Fabric, losses: Mapping[str, torch.Tensor]) -> dict[str, list[float]]:
    """Each loss on every device, so that one that fails ends all of them and leaves none waiting."""
    own = torch.stack([loss.detach().float() for loss in losses.values()])
    every = fabric.all_gather(own)
    assert isinstance(every, torch.Tensor), "a tensor is gathered as a tensor"
    return dict(zip(losses, every.reshape(-1, len(losses)).T.tolist(), strict=True))  # (devices, losses) transposed


def _add(sums: dict[str, float], losses: Mapping[str, Sequence[float]], *, step: int) -> None:
    """Add the means of a step's losses to the epoch's; raises RecipeError where one is NaN or infinite."""
    for name, values in losses.items():
        for device, value in enumerate(values):
            if not math.isfinite(value):
                where = f"step {step}" + (f" on device {device}" if len(values) > 1 else "")
                raise RecipeError(f"{name} must stay finite, it is {value} at {where}: lower optimizer.learning_rate")
        sums[name] = sums.get(name, 0.0) + sum(values) / len(values)


def _finish_epoch(now: Progressed, steps: int, *, rate: float) -> dict[str, float | int]:
    """Move on to the next epoch; the row of the one that ended has its mean losses."""
    now.epoch += 1
    means = {name if name == "loss" else f"loss/{name}": total / steps for name, total in now.sums.items()}
    now.step, now.sums = 0, {}
    return {"epoch": now.epoch, "step": now.epoch * steps, "learning_rate": rate, **means}


def _evaluate(fabric: Fabric, task: Task, module: nn.Module, pictures: Path) -> dict[str, float]:
    """Metrics by the first device, told to all; it also draws. Raises RecipeError where they tell nothing."""
    metrics: dict[str, float] = {}
    if fabric.is_global_zero:
        module.eval()
        with torch.no_grad():
            metrics = dict(task.evaluate(module))
            drawn = task.pictures(module)
        pictures.mkdir(exist_ok=True)
        for name, picture in drawn.items():
            (pictures / f"{name}.png").write_bytes(encode_png(picture))
    metrics = fabric.broadcast(metrics)
    if task.main_metric not in metrics:
        raise RecipeError(f"the held-out images must show what {task.main_metric} measures, they show none of it")
    return metrics


def _is_kept(now: Progressed, plan: LoopSpec, metrics: Mapping[str, float], main: float) -> bool:
    """Whether this evaluation's model is to be kept, noted in ``now``."""
    better = now.best is None or main > now.best
    now.best, now.stale = (main, 0) if better else (now.best, now.stale + 1)
    last = now.epoch == plan.epochs or _is_stale(now, plan)
    if kept := better if plan.keep == "best" else last:
        now.kept, now.kept_epoch = dict(metrics), now.epoch
    return kept


def _is_stale(now: Progressed, plan: LoopSpec) -> bool:
    return plan.patience is not None and now.stale >= plan.patience


def _save(fabric: Fabric, out: Path, now: Progressed, config: TrainConfig, parts: Mapping[str, Any]) -> None:
    if fabric.is_global_zero:
        tensors = {name: part.state_dict() for name, part in parts.items() if part is not None}
        save_state(out / STATE_FILE, now, config=config.model_dump_json(), parts=tensors)
    fabric.barrier()


def _resume(out: Path, config: TrainConfig, parts: Mapping[str, Any]) -> Progressed:
    now, tensors = load_state(out / STATE_FILE, config=config.model_dump_json())
    for name, part in parts.items():
        if part is not None:
            part.load_state_dict(tensors[name])
    return now
