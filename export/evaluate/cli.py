"""The command ``ocella evaluate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from export.cli import cache_root

if TYPE_CHECKING:
    from export.evaluate.run import Progress

FORMATS = "class-folders, coco, coco-masks, identity-folders, masks, voc, yolo"
_DATA, _MEASURE = "Data", "Measuring"


def evaluate_command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option(metavar="DIR|NAME", help="Folder or COCO file; or a published set: digits/test, trees/test ..."),
    ],
    package: Annotated[
        Path | None, typer.Argument(metavar="PACKAGE", help="Package folder, or a folder that holds exactly one.")
    ] = None,
    server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Ask this server; needs --model.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model on the server.")] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Measure boxes that are there: COCO results.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Write metrics.json, curves, report.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help=f"One of {FORMATS}.", rich_help_panel=_DATA)
    ] = None,
    on_error: Annotated[
        Literal["skip", "refuse"], typer.Option(help="Leave broken files out, or stop.", rich_help_panel=_DATA)
    ] = "skip",
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line.", rich_help_panel=_DATA)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the images are.", rich_help_panel=_DATA)
    ] = None,
    mask_values: Annotated[
        Literal["classes", "foreground"] | None, typer.Option(help="What masks hold.", rich_help_panel=_DATA)
    ] = None,
    score_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least score of a detection.", rich_help_panel=_MEASURE)
    ] = 0.001,
    iou_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of suppression; the package's own without.", rich_help_panel=_MEASURE),
    ] = None,
    max_detections: Annotated[
        int, typer.Option(min=1, max=100_000, help="Most detections of an image.", rich_help_panel=_MEASURE)
    ] = 100,
    far: Annotated[
        list[float] | None,
        typer.Option(min=1e-9, max=1, help="False accept rate to report, again for more.", rich_help_panel=_MEASURE),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, max=200, help="Worst images of the report.", rich_help_panel=_MEASURE)
    ] = 12,
) -> None:
    r"""Measure a package, a model on a server, or results in a file, on labelled data through the real pipeline.

    Example:
        ocella evaluate models/digits --data digits/test --out out/digits
    """
    from export.data.collect import ReadOptions, read_labels
    from export.evaluate.document import to_json, to_lines
    from export.evaluate.predictor import Settings
    from export.evaluate.run import Reading, Subject, evaluated
    from export.evaluate.write_out import write_out

    if (package is not None) + (server is not None or model is not None) + (results is not None) != 1:
        raise typer.BadParameter("give one of PACKAGE, --server with --model, or --results")
    if (server is None) != (model is None):
        raise typer.BadParameter("--server and --model go together")
    settings = Settings(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        fars=tuple(far) if far else Settings.fars,
        num_worst=worst,
    )
    options = ReadOptions(
        on_error=on_error,
        labels=read_labels(labels) if labels else None,
        images=images,
        mask_values=mask_values,
    )
    reading = Reading(data=data, cache=cache_root(None).parent / "data", format_=format_, options=options)
    subject = Subject(model=str(package) if package else model, server=server, results=results)
    with _progress() as progress, evaluated(context.obj, subject, reading, settings, progress=progress) as found:
        evaluation, predictor = found
        if out:
            write_out(evaluation, out, predictor=predictor)
    if as_json:
        print(json.dumps(to_json(evaluation), indent=2, allow_nan=False))
        return
    print("\n".join(to_lines(evaluation)))
    if out:
        print(f"\nreport: {out / 'report.html'}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, plain lines elsewhere; on stderr, since stdout is for the answer."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("reading", total=None)
            yield lambda line, done, total: bar.update(task, description=line, completed=done, total=total or None)
        return

    def plain(line: str, done: int, total: int) -> None:
        if not total:
            print(f"  {line}", file=sys.stderr)
        elif done == total or done % max(1, total // 10) == 0:
            print(f"  {line}: {done:,} of {total:,} images", file=sys.stderr)

    yield plain
