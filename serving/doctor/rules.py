"""What should be different in an environment, and how: one rule a function, each from facts alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from serving.doctor.facts import Facts
from serving.doctor.versions import meets
from serving.memory import MIB
from serving.open_files import ENOUGH_FILES, promised_files
from serving.settings import Settings

Level: TypeAlias = Literal["fix", "note"]
ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
OPENCVS = ("opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python", "opencv-python-headless")
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
# A server of the four built-in models holds 220 MiB at rest; large segmentation models take a GiB each.
LEAST_MEMORY = 512 * MIB
LEAST_FILES = 256
LEAST_SHARED_MEMORY = 64 * MIB
LEAST_FREE = 64 * MIB


@dataclass(frozen=True)
class Finding:
    """Something that should be different.

    Attributes:
        level: ``fix`` where serving fails or goes wrong without it, ``note`` where it depends on what is wanted.
        what: is the matter.
        do: what to do about it.
    """

    level: Level
    what: str
    do: str


Rule: TypeAlias = Callable[[Facts], Iterator[Finding]]


def one_onnxruntime(facts: Facts) -> Iterator[Finding]:
    """Two builds overwrite each other's files; none runs no model."""
    found = [name for name in ONNXRUNTIMES if name in facts.packages]
    if not found:
        yield Finding("fix", "onnxruntime is not installed", "pip install 'ocella[cpu]' or 'ocella[gpu]'")
    if len(found) > 1:
        again = "ocella[gpu]" if facts.gpus.devices else "ocella[cpu]"
        do = f"pip uninstall --yes {' '.join(found)} && pip install '{again}'"
        yield Finding("fix", "onnxruntime and onnxruntime-gpu are installed over each other", do)


def one_opencv(facts: Facts) -> Iterator[Finding]:
    """All of them install the same package ``cv2``."""
    found = [name for name in OPENCVS if name in facts.packages]
    if len(found) > 1:
        do = f"pip uninstall --yes {' '.join(found)} && pip install opencv-python-headless"
        yield Finding("fix", f"{' and '.join(found)} are installed over each other", do)


def versions_in_range(facts: Facts) -> Iterator[Finding]:
    """What every install needs must be there; what an extra asks for must fit where it is there."""
    for requirement in facts.requirements:
        name, have = requirement.name, facts.packages.get(requirement.name)
        wanted = f"{name}{requirement.specifier}"
        if have is None and not requirement.extra:
            yield Finding("fix", f"{name} is not installed", f"pip install '{wanted}'")
        elif have is not None and not meets(have, requirement.specifier):
            level: Level = "note" if requirement.extra not in ("", "cpu", "gpu") else "fix"
            yield Finding(level, f"{name} must be {requirement.specifier}, got {have}", f"pip install '{wanted}'")


def modules_import(facts: Facts) -> Iterator[Finding]:
    """A wheel may need a library that a slim system lacks."""
    for name, reason in facts.broken_imports.items():
        if name == "onnxruntime" and not set(ONNXRUNTIMES) & set(facts.packages):
            continue  # said already
        do = "install opencv-python-headless in its place" if "libGL" in reason else "install what the message names"
        yield Finding("fix", f"{name} cannot be imported: {reason}", do)


def gpu_is_usable(facts: Facts) -> Iterator[Finding]:
    """A GPU build needs a driver for its CUDA; a GPU needs a GPU build."""
    gpus, with_cuda = facts.gpus, CUDA_PROVIDER in facts.providers
    if gpus.problem:
        yield Finding(
            "fix" if with_cuda else "note", f"the NVIDIA driver answers: {gpus.problem}", "reload or update it"
        )
    elif with_cuda and not gpus.devices:
        if gpus.kernel:
            do = "start the container with --gpus all, in Kubernetes with a limit of nvidia.com/gpu"
            yield Finding("fix", "the machine has an NVIDIA driver, this process sees no GPU", do)
        else:
            do = "pip uninstall --yes onnxruntime-gpu && pip install 'ocella[cpu]'"
            yield Finding("note", "onnxruntime-gpu is installed and there is no GPU: models run on the CPU", do)
    elif gpus.devices and facts.providers and not with_cuda:
        do = "pip uninstall --yes onnxruntime && pip install 'ocella[gpu]'"
        yield Finding("note", f"{gpus.devices[0].name} is not used: this is onnxruntime's CPU build", do)
    yield from _driver_fits(facts)


def _driver_fits(facts: Facts) -> Iterator[Finding]:
    gpus, needed = facts.gpus, facts.onnxruntime_cuda.partition(".")[0]
    if gpus.cuda and needed.isdigit() and gpus.cuda[0] < int(needed):
        runs = f"the driver {gpus.driver} runs {gpus.cuda[0]}.{gpus.cuda[1]}"
        what = f"onnxruntime is built for CUDA {facts.onnxruntime_cuda}, {runs}"
        yield Finding(
            "fix", what, f"install a driver for CUDA {needed}, or 'ocella[cpu]' in the place of 'ocella[gpu]'"
        )
    elif gpus.session:
        do = "pip install 'ocella[gpu]' brings CUDA and cuDNN; compare their versions with onnxruntime's"
        yield Finding("fix", f"no session starts on the GPU: {gpus.session}", do)


def cores_are_whole(facts: Facts) -> Iterator[Finding]:
    """A part of a core means that threads stand still for the rest of each period."""
    quota = facts.allowance.quota
    if math.isfinite(quota) and quota != int(quota) and quota < facts.allowance.affinity:
        what = (
            f"the cgroup grants {quota:g} cores: {facts.allowance.cores} threads stand still for a part of each 100 ms"
        )
        yield Finding("note", what, f"grant {math.ceil(quota)} cores where latencies matter")


def memory_suffices(facts: Facts) -> Iterator[Finding]:
    """Below this no load with its golden replay can be expected to pass."""
    if facts.memory_bytes is not None and facts.memory_bytes < LEAST_MEMORY:
        what = f"{facts.memory_bytes // MIB} MiB of memory are available, the least is {LEAST_MEMORY // MIB} MiB"
        yield Finding("fix", what, "raise the memory limit of the cgroup or container, or free memory")


def files_suffice(facts: Facts) -> Iterator[Finding]:
    """Each connection is an open file; the server raises the soft limit itself."""
    _, hard = facts.open_files
    promised = promised_files(Settings.model_construct())
    if 0 <= hard < promised:
        what = f"{hard} files may be open at once, the default limits of connections promise {promised}"
        do = f"ulimit -Hn {ENOUGH_FILES}, LimitNOFILE in systemd, docker run --ulimit nofile={ENOUGH_FILES}"
        yield Finding("fix" if hard < LEAST_FILES else "note", what, do)


def folders_are_writable(facts: Facts) -> Iterator[Finding]:
    """``--processes`` and batch jobs need the temporary folder, ``ocella zoo pull`` the cache."""
    temporary, cache = facts.temporary, facts.cache
    if not temporary.writable:
        yield Finding("fix", f"{temporary.path} must be writable", "mount a tmpfs there, or set TMPDIR")
    elif temporary.free_bytes < LEAST_FREE:
        yield Finding(
            "fix", f"{temporary.path} has {temporary.free_bytes // MIB} MiB left", "free space, or set TMPDIR"
        )
    if not cache.writable:
        do = "set OCELLA_CACHE to a folder that is writable; serving needs none"
        yield Finding("note", f"{cache.path} is not writable: `ocella zoo pull` has no place to put models", do)


def shared_memory_suffices(facts: Facts) -> Iterator[Finding]:
    """Only ``--allow-shared-memory`` uses it."""
    free = facts.shared_memory_bytes
    if free is None or free < LEAST_SHARED_MEMORY:
        has = "is not there" if free is None else f"has {free // MIB} MiB left"
        yield Finding(
            "note", f"/dev/shm {has}: --allow-shared-memory needs it", "docker run --shm-size 256m, or a tmpfs"
        )


def models_are_built_in(facts: Facts) -> Iterator[Finding]:
    """An install without its models answers nothing until it is given some."""
    if not facts.built_in_models:
        yield Finding(
            "note", "no models are built in", "give --models DIR to `ocella serve`, or install the wheel again"
        )


def variables_are_known(facts: Facts) -> Iterator[Finding]:
    """A misspelt setting has no effect and says nothing."""
    for name in facts.unknown_variables:
        yield Finding("note", f"{name} is set, and nothing reads it", "docs/operations.md lists the variables")


def clock_is_right(facts: Facts) -> Iterator[Finding]:
    """Certificates and tokens expire by it."""
    if facts.clock_behind_s > 0:
        what = f"the clock is {facts.clock_behind_s:,.0f} s behind the files of this install"
        yield Finding("fix", what, "set it: certificates and tokens are judged by it")
    elif facts.clock_synchronised is False:
        yield Finding(
            "note", "the kernel's clock is not synchronised", "run an NTP client: certificates, tokens and logs need it"
        )


def allocator_can_be_tuned(facts: Facts) -> Iterator[Finding]:
    """Without glibc there is no mallopt, and large messages then cost twice."""
    if not facts.glibc:
        do = "use a system with glibc: large messages cost about twice the CPU time without its allocator's settings"
        yield Finding("note", "the C library is not glibc", do)


RULES: tuple[Rule, ...] = (
    one_onnxruntime,
    one_opencv,
    versions_in_range,
    modules_import,
    gpu_is_usable,
    memory_suffices,
    files_suffice,
    folders_are_writable,
    clock_is_right,
    cores_are_whole,
    shared_memory_suffices,
    models_are_built_in,
    variables_are_known,
    allocator_can_be_tuned,
)


def findings(facts: Facts) -> list[Finding]:
    """All that should be different, what must be fixed first."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: finding.level)
