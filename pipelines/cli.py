"""Commands on packages: ``ocella verify`` and ``ocella golden``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.gate_replay import has_grid, replay_grid
from pipelines.loader import load_package
from pipelines.manifest import ModelManifest
from pipelines.rerecord import find_drift, rerecord
from pipelines.session import CPU, SessionOptions

PackageArgument = Annotated[
    Path, typer.Argument(metavar="PACKAGE", help="Package folder, or a folder that holds exactly one.")
]


def verify(
    package: PackageArgument,
    provider: Annotated[str, typer.Option(help="Execution provider of the replay.")] = CPU,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a package: files, seal, graph, golden replay, and the gate of its export where it has one.

    Every batch, row size, optimisation level and thread count of the gate is run again, without torch, and compared
    with what torch answered as far as the package stores it: a part of the raw values, and decoded results of batches
    of 1.

    Example:
        ocella verify ~/.cache/ocella/models/centerface
    """
    with load_package(package, options=SessionOptions(providers=(provider,))) as model:
        manifest, report = model.manifest, model.golden
        assert report is not None  # load_package replays unless told not to
        grid = (
            replay_grid(manifest, model.folder, provider=provider)
            if isinstance(manifest, ModelManifest) and has_grid(manifest)
            else None
        )
        row = {
            "name": manifest.name,
            "version": manifest.version,
            "task": manifest.head.task,
            "files": len(manifest.files),
            "reference": report.reference,
            "provider": report.provider,
            "pixel_levels": report.pixel_levels,
            "pixel_fraction": report.pixel_fraction,
            "raw_ratio": report.raw_ratio,
            "decoded_compared": report.compared,
            "decoded_excluded": report.excluded,
            "meaning": report.meaning,
            "gate": grid and asdict(grid),
        }
    if as_json:
        typer.echo(json.dumps(row))
        return
    typer.echo(f"{row['name']} {row['version']} ({row['task']}) is intact: {row['files']} files, seal, graph")
    typer.echo(
        f"golden replay on {report.provider}: pixels within {report.pixel_levels} levels on "
        f"{report.pixel_fraction:.2%} of the values, raw outputs at {report.raw_ratio:.1%} of their tolerance, "
        f"{report.compared} decoded values equal, {report.excluded} near-ties left out"
    )
    if grid:
        typer.echo(
            f"gate repeated: {grid.cases} cases in {grid.runtimes} ways, raw outputs at {grid.raw_ratio:.1%} of their "
            f"tolerance, {grid.compared} decoded values equal, {grid.excluded} near-ties left out"
        )
    typer.echo(report.meaning)


def golden(
    package: PackageArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Record without asking.")] = False,
) -> None:
    """Record golden samples and seal anew after you changed a package's recipe on purpose; shows the difference first.

    Example:
        ocella golden ~/.cache/ocella/models/centerface
    """
    drift = find_drift(package)
    if not drift:
        typer.echo("nothing to do: recipe, files and golden samples agree")
        return
    if drift.recipe_changed:
        typer.echo("recipe changed: the seal does not fit image, head, labels, inputs and outputs")
    for name in drift.files_changed:
        typer.echo(f"file changed: {name}")
    typer.echo(drift.replay_problem or "golden replay still agrees")
    if not yes:
        typer.confirm("record golden samples and seal from the package as it stands?", abort=True)
    manifest = rerecord(package)
    typer.echo(f"recorded {manifest.name} {manifest.version} with onnxruntime: proves stability, not correctness")
