"""``ocella train``: a recipe by name, or a config of one's own."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from export.training.config import TrainConfig
    from export.training.run import TrainingData

RUNS = Path("runs")


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE|CONFIG", help="Recipe (digits, nuclei, orl-faces, trees) or a TOML file.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of a config: where its paths start. Of a recipe: where data are fetched to."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="The run's folder; default runs/NAME.")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="The same in seconds: little data, an epoch or two.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")] = False,
) -> None:
    r"""Train a model, judge it on held-out images, draw its curves.

    Example:
        ocella train digits --smoke --out /tmp/digits-smoke
    """
    try:
        import lightning_fabric  # noqa: F401
        import torch
        import torchvision  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"install 'ocella[export]' to train (no {error.name})") from error
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from export.training.progress import progress
    from export.training.run import run

    # Each device is a process that runs this command; what they all do is said by the first.
    say = rank_zero_only(typer.echo)
    config, training_data = gather(recipe, data, smoke=smoke, say=say)
    folder = out or RUNS / (f"{config.name}-smoke" if smoke else config.name)
    source = f"{config.source}; `{_command(recipe, smoke=smoke)}`"
    with progress(say) as shown:
        outcome = run(config, training_data, out=folder, resume=resume, source=source, progress=shown)
    best = "  ".join(f"{name} {value:.4f}" for name, value in outcome.metrics.items())
    say(f"epoch {outcome.kept_epoch} was kept: {best}")
    say(f"held out: {training_data.split}")
    say(f"{folder / 'model.pt'} ({torch.__version__}); `ocella export {folder}` makes a package of it")


def _command(recipe: str, *, smoke: bool) -> str:
    """What a manifest says that the weights came from: of a config its name alone, since paths are private."""
    return f"ocella train {Path(recipe).name}" + (" --smoke" if smoke else "")


def gather(
    recipe: str, data: Path | None, *, smoke: bool, say: Callable[[str], None]
) -> tuple[TrainConfig, TrainingData]:
    """The config and the data of a recipe's name or of a TOML file; ``say`` is told what was read.

    Raises:
        RecipeError: there is no such recipe, or the config is wrong.
        DatasetError: its data cannot be read.
        DownloadError: they cannot be fetched.
    """
    from export.cli import cache_root
    from export.training.config import read_config
    from export.training.recipes import RECIPES
    from export.training.smoke import smoke_config
    from export.training.sources import config_data, recipe_config, recipe_data

    def report(line: str) -> None:
        say(f"  {line}")

    if recipe in RECIPES:
        chosen = RECIPES[recipe]
        root = data or cache_root(None).parent / "data"
        found = recipe_data(chosen, root, smoke=smoke, report=report)
        return recipe_config(chosen, root, smoke=smoke, report=report), found
    path = Path(recipe)
    if not path.suffix and not path.exists():
        close = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {close[0]!r}" if close else "a config is a file that ends in .toml"
        raise RecipeError(f"no recipe {recipe!r}, there are {', '.join(RECIPES)}; {hint}")
    config = read_config(path)
    if data is None:
        raise RecipeError(f"--data must say where the images of {path} are, it was not given")
    return (smoke_config(config) if smoke else config), config_data(config, data, smoke=smoke, report=report)
