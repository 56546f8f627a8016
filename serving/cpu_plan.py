"""How the cores are used: threads for pixels, runs at once, threads inside a run, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serving.cpu import Allowance, read_allowance
from serving.deploy import Runtime
from serving.repository import Candidate

CPU = "CPUExecutionProvider"
RUNS_ON_DEVICE = 2
# What one process keeps busy with images, however many there are; Python's lock is the limit. Measured on 16 cores
# beside one H100: four processes of four cores each answered 2.3 times as many images, eight of two no more.
_CORES_OF_A_PROCESS, _CORES_EACH = 6, 4


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """How one model uses the cores.

    Attributes:
        runs: batches that run at once, all on one session.
        intra_op_threads: threads inside one run.
        reasons: a line for each of the two, and one where they do not fit the cores.
    """

    runs: int
    intra_op_threads: int
    reasons: tuple[str, ...]


def plan_model(runtime: Runtime, *, cores: int, provider: str | None = None) -> ModelPlan:
    """Plan one model on so many cores; what ``deploy.toml`` says holds.

    Args:
        runtime: the operator's choices.
        cores: of the process.
        provider: that runs the model; ``None``: the one that is asked for.
    """
    on_cpu, intra = (provider or runtime.providers[0]) == CPU, runtime.intra_op_threads
    runs = runtime.instances or (cores if on_cpu else RUNS_ON_DEVICE)
    reasons = [
        "deploy.toml says so"
        if runtime.instances
        else "one for each core: under load more than one run on all of them carries"
        if on_cpu
        else "on a GPU: one computes while the other copies; with more of them batches are smaller",
        "more than one shortens a lone run and costs throughput under load; deploy.toml says so"
        if intra > 1
        else "one, so that runs do not wait for each other and a batch equals its rows alone to the bit",
    ]
    if on_cpu and runs * intra > cores:
        reasons.append(f"{runs} runs of {intra} threads are more than the {cores} cores: they will share them")
    return ModelPlan(runs=runs, intra_op_threads=intra, reasons=tuple(reasons))


def plan_text(candidates: Sequence[Candidate], *, processes: int = 1, allowance: Allowance | None = None) -> str:
    """Say the whole plan, a line for each decision."""
    allowance = allowance or read_allowance()
    cores = max(1, allowance.cores // processes)
    quota = "no quota" if math.isinf(allowance.quota) else f"a quota of {allowance.quota:g} cores"
    lines = [f"cores: {allowance.cores} (affinity mask of {allowance.affinity}, {quota})"]
    if processes > 1:
        lines.append(f"processes: {processes}, with {cores} of the cores each")
    elif cores > _CORES_OF_A_PROCESS:
        more = math.ceil(cores / _CORES_EACH)
        lines.append(f"processes: 1, which keeps about five cores busy with images; --processes {more} uses the others")
    lines.append(f"pixel threads: {cores}, shared by all models: one for each core, OpenCV's own threads are off")
    for candidate in candidates:
        plan = plan_model(candidate.deploy.runtime, cores=cores)
        lines.append(f"{candidate.name} {candidate.version} on {candidate.deploy.runtime.providers[0]}:")
        lines.append(f"  runs at once: {plan.runs} ({plan.reasons[0]})")
        lines.append(f"  threads in a run: {plan.intra_op_threads} ({plan.reasons[1]})")
        lines.extend(f"  note: {reason}" for reason in plan.reasons[2:])
    return "\n".join(lines)
