"""``ocella tune``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.manifest import Manifest
    from serving.bench.messages import Messages
    from serving.tune.search import Trial

# Of one load: long enough for a few hundred answers of a small model, short enough for a search in minutes.
LOAD_S = 1.5


def tune(
    model: Annotated[Path, typer.Option(metavar="PACKAGE", help="Package folder.")],
    latency_ms: Annotated[float, typer.Option(min=0.1, help="99 % of the requests must be answered within.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="No new trial begins after so many.")] = 5.0,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", exists=True, help="What is sent; default: photos made up.")
    ] = None,
    tensor: Annotated[bool, typer.Option("--tensor", help="Send the graph's own tensors, not images.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Default: the repository's deploy.toml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    r"""Search how a model answers most within a latency on this machine, and write it down with what was measured.

    Runs at once and their threads, then rows in a run, then how long a row waits: each choice on a server of its own,
    under rising load. A file that is there stays unless --force is given; the difference is shown either way.

    Example:
        ocella tune --model ~/.cache/ocella/models/centerface --latency-ms 200 --minutes 2 --out out/deploy.toml
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from pipelines.loader import find_package
    from pipelines.manifest import read_manifest
    from serving.bench.machine import machine
    from serving.cpu import usable_cores
    from serving.deploy import Deploy, read_deploy
    from serving.tune.deploy_file import compose, difference, place_of, write
    from serving.tune.measure import ServerMeasure
    from serving.tune.search import search

    package = find_package(model)
    manifest = read_manifest(package)
    place = place_of(package, name=manifest.name, version=manifest.version)
    target = out or place
    if target is None:
        raise typer.BadParameter("must be given for a package outside a repository", param_hint="--out")
    deploy = read_deploy(place.parent) if place else Deploy()
    measure = ServerMeasure(
        package,
        _messages(package, image, tensor=tensor),
        deploy,
        name=manifest.name,
        version=manifest.version,
        load_s=LOAD_S,
    )
    end = time.monotonic() + minutes * 60
    found = search(
        measure,
        cores=usable_cores(),
        goal_s=latency_ms / 1000,
        max_sizes=_sizes(manifest),
        is_over=lambda: time.monotonic() >= end,
        tell=_tell,
    )
    text = compose(deploy, found, goal_s=latency_ms / 1000, machine=machine())
    print(difference(target, text) or f"{target} says so already")
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, text, force=force)
    print(f"written: {target}")


def _messages(package: Path, image: Path | None, *, tensor: bool) -> Messages:
    from pipelines.loader import load_package
    from serving.bench.subject import messages_of, read_images

    with load_package(package) as loaded:
        return messages_of(loaded, read_images(image), tensor=tensor)


def _sizes(manifest: Manifest) -> tuple[int, ...]:
    """Rows of a run that the graph takes: all, or the one that its batch axis is fixed to."""
    from pipelines.manifest import CascadeManifest
    from serving.tune.search import SIZES

    if isinstance(manifest, CascadeManifest):
        return SIZES
    fixed = [spec.shape[0] for spec in manifest.inputs if spec.shape and isinstance(spec.shape[0], int)]
    return (fixed[0],) if fixed else SIZES


def _tell(trial: Trial) -> None:
    choice, best = trial.choice, trial.best
    reached = f"{best.rate:.1f} results/s, p99 {best.p99_s * 1000:.1f} ms" if best else "not within the latency"
    typer.echo(
        f"runs {choice.instances} x threads {choice.intra_op_threads}, max_size {choice.max_size}, "
        f"max_delay_ms {choice.max_delay_ms:g}: {reached}"
    )
