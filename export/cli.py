"""Commands of the zoo: ``ocella zoo list`` and ``ocella zoo pull``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import OcellaError

CACHE_VARIABLE = "OCELLA_CACHE"

zoo_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Real pretrained models, pinned. Example: ocella zoo list"
)
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="DIR", help=f"Where packages are; default ${CACHE_VARIABLE} or ~/.cache/ocella/models."
    ),
]


@zoo_app.command("list")
def zoo_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    cache: CacheOption = None,
) -> None:
    """List the models, and where those that were pulled are.

    Example: ocella zoo list --json
    """
    from export.zoo import RECIPES
    from export.zoo.pull import pulled

    root = cache_root(cache)
    rows = []
    for recipe in RECIPES.values():
        path = pulled(recipe, root)
        rows.append({"name": recipe.name, "task": recipe.task, "license": recipe.license, "path": path and str(path)})
    if as_json:
        typer.echo(json.dumps(rows))
        return
    width = max(len(row["name"] or "") for row in rows)
    for row, recipe in zip(rows, RECIPES.values(), strict=True):
        place = row["path"] or "not pulled"
        typer.echo(f"{row['name']:<{width}}  {row['task']:<14}  {row['license']:<10}  {recipe.description}  ({place})")


@zoo_app.command("pull")
def zoo_pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models, as `ocella zoo list` names them.")],
    cache: CacheOption = None,
) -> None:
    """Fetch models, build their packages and check them against their projects' own results; again: only check.

    Example: ocella zoo pull centerface u2netp
    """
    from export.zoo import RECIPES
    from export.zoo.pull import pull, steps

    for name in names:
        if name not in RECIPES:
            raise typer.BadParameter(f"no model {name!r}, there are {', '.join(RECIPES)}", param_hint="NAME")
    root, failed = cache_root(cache), False
    for name in dict.fromkeys(names):
        recipe = RECIPES[name]
        typer.echo(f"{name}: {recipe.description}. Licence {recipe.license}. From {recipe.source}")
        try:
            with progress(name, steps=steps(recipe)) as report:
                folder = pull(recipe, root, report=report)
        except OcellaError as error:
            typer.echo(f"error: {name}: {error}", err=True)
            failed = True
        else:
            typer.echo(f"{name}: {folder}")
    if failed:
        raise typer.Exit(1)


def cache_root(option: Path | None) -> Path:
    """The repository of pulled packages: the option, the environment variable, or a folder in the user's cache."""
    return (option or Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/ocella/models")).expanduser()


@contextmanager
def progress(name: str, *, steps: int) -> Iterator[Callable[[str], None]]:
    """A reporter of steps: a bar on a terminal, plain lines elsewhere."""
    if not sys.stdout.isatty():
        yield lambda line: typer.echo(f"  {line}")
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(name, total=steps)
        done = -1

        def report(line: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, description=f"{name}: {line}")

        yield report
