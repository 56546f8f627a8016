"""``ocella export``: a torch model through the gate into a package."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.errors import MissingExtraError, OcellaError, RecipeError
from pipelines.manifest import MANIFEST_FILE, NAME_PATTERN

if TYPE_CHECKING:
    from export.draft import ExportChoices
    from export.exporters import Exported
    from export.subject import Subject


def export_command(
    source: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT|NAME", help="model.pt of `ocella train`, its folder, or a NAME."),
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Package folder; default ./NAME.")] = None,
    name: Annotated[str | None, typer.Option(help="Model name; default the checkpoint's, or NAME itself.")] = None,
    model_version: Annotated[int, typer.Option(min=1, max=1_000_000, help="Model version.")] = 1,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="State dict for a NAME; without it the weights are random.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Row size of a NAME; default its own.")] = None,
    sample: Annotated[
        list[Path] | None, typer.Option(metavar="IMAGE", help="Sample image instead of the model's own; 1 to 4 times.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, or fp16 inside (inputs and outputs stay).")] = "fp32",
    pixels: Annotated[
        str, typer.Option(help="uint8: the graph normalises and takes bytes; float32: it takes normalised rows.")
    ] = "uint8",
    nms: Annotated[str, typer.Option(help="host, or graph: suppression becomes a part of the graph.")] = "host",
    exporter: Annotated[str, typer.Option(help="auto, dynamo or torchscript.")] = "auto",
    max_batch: Annotated[int, typer.Option(min=1, max=256, help="Largest batch that is proven.")] = 4,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a package that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Export a torch model into a package, if its graph answers as the model does; else say where it differs first.

    The graph and the model are compared over batches, row sizes, optimisation levels and threads, as tensors and as
    decoded results. Any miss: no package, exit code 1.

    Example:
        ocella export mobilenet_v3_small --out out/mobilenet --replace
    """
    choices = choices_from(precision=precision, pixels=pixels, nms=nms, exporter=exporter, max_batch=max_batch)
    size_hw = size_from(size)
    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        raise typer.BadParameter(f"must be small letters, digits, . _ -, got {name!r}", param_hint="--name")
    subject = open_subject(
        source, name=name, version=model_version, weights=weights, size_hw=size_hw, samples=sample or []
    )
    folder = out or Path(subject.name)
    replaced = _is_replaced(folder, allowed=replace)
    exported = _export(subject, choices, quiet=as_json)
    problem = None if exported.reports[-1].passed else exported.reports[-1].sentence
    if problem is None:
        from export.packaging import package_export

        package_export(exported, subject, folder, replace_folder=replaced)
    if as_json:
        package = None if problem else str(folder)
        reports = [report.to_json() for report in exported.reports]
        typer.echo(json.dumps({"name": subject.name, "package": package, "note": subject.note, "attempts": reports}))
    else:
        _show(exported, subject, folder)
    if problem is not None:
        typer.echo(f"error: {subject.name}: no package, the gate was not passed: {problem}", err=True)
        raise typer.Exit(1)


def _is_replaced(folder: Path, *, allowed: bool) -> bool:
    """Whether something is in the place of the package; raises RecipeError for what must stay: all but packages."""
    if not folder.exists():
        return False
    empty = folder.is_dir() and not any(folder.iterdir())
    if not empty and not (folder / MANIFEST_FILE).is_file():
        raise RecipeError(f"{folder} must be a new folder or a package to replace, it is neither")
    if not empty and not allowed:
        raise RecipeError(f"{folder} exists already, --replace replaces it")
    return True


def choices_from(*, precision: str, pixels: str, nms: str, exporter: str, max_batch: int) -> ExportChoices:
    """The flags as choices; raises BadParameter for a word that is none of a flag's."""
    _require_torch()
    from export.draft import ExportChoices
    from export.trace import EXPORTERS

    for flag, value, known in (
        ("--precision", precision, ("fp32", "fp16")),
        ("--pixels", pixels, ("uint8", "float32")),
        ("--nms", nms, ("host", "graph")),
        ("--exporter", exporter, ("auto", *EXPORTERS)),
    ):
        if value not in known:
            raise typer.BadParameter(f"must be {' or '.join(known)}, got {value!r}", param_hint=flag)
    inside: Literal["fp32", "fp16"] = "fp16" if precision == "fp16" else "fp32"
    rows: Literal["uint8", "float32"] = "uint8" if pixels == "uint8" else "float32"
    tried = tuple(EXPORTERS) if exporter == "auto" else (exporter,)
    return ExportChoices(
        exporters=tried, precision=inside, pixels=rows, nms_in_graph=nms == "graph", max_batch=max_batch
    )


def size_from(text: str | None) -> tuple[int, int] | None:
    """``HxW`` as height and width; raises BadParameter."""
    if text is None:
        return None
    parts = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if parts is None:
        raise typer.BadParameter(f"must be HEIGHTxWIDTH, as 224x224, got {text!r}", param_hint="--size")
    return int(parts[1]), int(parts[2])


def open_subject(
    source: str,
    *,
    name: str | None,
    version: int,
    weights: Path | None,
    size_hw: tuple[int, int] | None,
    samples: list[Path],
) -> Subject:
    """A checkpoint where a file or a run's folder of that name exists, else a model by name; raises RecipeError."""
    from dataclasses import replace

    from export.named.table import named_subject
    from export.sample_files import read_samples

    path = Path(source)
    if path.is_file() or (path / "model.pt").is_file() or path.suffix == ".pt":
        if weights is not None or size_hw is not None:
            raise RecipeError("--weights and --size are for models by name, a checkpoint has its own")
        from export.trained import trained_subject

        subject = trained_subject(path)
    else:
        subject = named_subject(source, weights=weights, size_hw=size_hw)
    subject = replace(subject, name=name or subject.name, version=version)
    if samples:
        subject = replace(subject, samples=read_samples(samples, subject.image))
    if not subject.samples:
        raise RecipeError(f"{source} holds no sample image, and a package needs one: give --sample")
    return subject


def _require_torch() -> None:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("export needs torch: pip install 'ocella[export]'")


def _export(subject: Subject, choices: ExportChoices, *, quiet: bool) -> Exported:
    from export.exporters import export_subject

    say: Callable[[str], None] = (lambda _: None) if quiet else (lambda line: typer.echo(f"  {line}"))
    if not quiet:
        typer.echo(f"{subject.name}: {subject.description}. From {subject.source}")
    try:
        return export_subject(subject, choices, report=say)
    except OcellaError as error:
        raise RecipeError(f"{subject.name}: {error}") from error


def _show(exported: Exported, subject: Subject, folder: Path) -> None:
    from rich.console import Console

    from export.gate.table import print_report

    console = Console()
    for report in exported.reports:
        if report.results:
            print_report(report, console)
    if exported.reports[-1].passed:
        rewrites = ", ".join(f"{name} {count}" for name, count in exported.rewrites.items())
        typer.echo(f"graph passes: {rewrites}")
        if subject.note:
            typer.echo(f"note: {subject.note}")
        typer.echo(f"{subject.name} {subject.version} ({subject.head.task}): {folder}")
