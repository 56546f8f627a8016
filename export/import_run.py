"""``ocella import`` from flags to a package: what is not said is asked of the file, of the doctor, then of the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.consult import consult, described, open_foreign, recipe_of, with_what_is_said
from export.doctor.choose import choose
from export.doctor.diagnose import Diagnosis
from export.doctor.proposal import Flags
from export.doctor.report import as_text, to_json
from export.flag_values import FlagError
from export.foreign.triton_config import TritonConfig, check_tensors, read_labels, to_deploy
from export.import_flags import recipe_from
from export.importer import ImportRecipe, import_model, read_sample
from pipelines.draw import draw
from pipelines.manifest import ModelManifest
from pipelines.present import encode_png

DEPLOY_FILE = "deploy.toml"
NO_LICENSE = "not stated"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the command was asked for, beside the flags of the recipe.

    Attributes:
        samples: image files; the doctor looks at the first.
        out: package folder; ``None``: the model's name, here.
        overlays: folder for a drawing of what each reading finds, or ``None``.
        triton: an existing configuration of the model, with the file that it was read from; or ``None``.
        yes: accept what is without doubt and ask nothing.
        ask: puts a question to the user; ``None`` where there is no terminal.
        show: takes lines for the user.
    """

    samples: Sequence[Path]
    out: Path | None
    overlays: Path | None
    triton: tuple[Path, TritonConfig] | None
    yes: bool
    ask: Callable[[str], str] | None
    show: Callable[[str], None]


def explain(model: Path, flags: Flags, options: ImportOptions, *, as_json: bool) -> str:
    """The diagnosis alone, as text or as one JSON document."""
    flags = _with_triton(flags, options)
    foreign = open_foreign(model, flags)
    flags = with_what_is_said(flags, foreign, default_license=NO_LICENSE)
    diagnosis = consult(foreign, flags, options.samples)
    overlays = _draw(diagnosis, options)
    if as_json:
        return json.dumps({**to_json(diagnosis), "overlays": [str(path) for path in overlays]}, indent=2)
    return "\n".join([as_text(diagnosis), *(f"drawn: {path}" for path in overlays)])


def run_import(model: Path, flags: Flags, options: ImportOptions) -> tuple[ModelManifest, Path]:
    """Make the package and return its manifest and folder.

    Raises:
        FlagError: a flag is missing, has no effect, or has a bad value.
        DoubtError: what the flags leave out is in doubt, and nobody could be asked.
    """
    flags = _with_triton(flags, options)
    foreign = open_foreign(model, flags)
    flags = with_what_is_said(flags, foreign, default_license=NO_LICENSE)
    inputs, outputs = foreign.tensors
    if options.triton is not None:
        check_tensors(options.triton[1], inputs, outputs)
    recipe: ImportRecipe
    if described(flags):
        recipe = recipe_from(flags, inputs=inputs, outputs=outputs)
    else:
        diagnosis = consult(foreign, flags, options.samples)
        for path in _draw(diagnosis, options):
            options.show(f"drawn: {path}")
        reading = choose(diagnosis, ask=options.ask, show=options.show, yes=options.yes)
        recipe = recipe_of(reading, foreign, flags)
    folder = options.out or Path(recipe.name)
    if options.out is None and options.triton is not None:
        folder /= str(recipe.version)  # as in a repository, so that the settings lie beside the version.
    manifest = import_model(model, recipe, samples=options.samples, out=folder)
    if options.triton is not None:
        _write_deploy(folder, options)
    return manifest, folder


def _with_triton(flags: Flags, options: ImportOptions) -> Flags:
    """The flags with the name and the labels of a Triton configuration where none were given."""
    if options.triton is None:
        return flags
    path, config = options.triton
    found = dict(flags)
    if flags["name"] is None and config.name:
        found["name"] = config.name.lower()
    if flags["labels"] is None and not flags["label"]:
        found["label"] = list(read_labels(config, path.parent))
    return found


def _write_deploy(folder: Path, options: ImportOptions) -> None:
    """Write ``deploy.toml`` beside the package and name what has no equivalent; one that is there is left alone."""
    assert options.triton is not None
    deploy = to_deploy(options.triton[1])
    path = folder.parent / DEPLOY_FILE
    for line in deploy.left_out:
        options.show(f"no equivalent: {line}")
    if path.exists():
        options.show(f"{path} exists already and stays as it is; the settings would be:\n{deploy.toml}")
        return
    path.write_text(deploy.toml, encoding="utf-8")
    options.show(f"deployment settings: {path}")


def _draw(diagnosis: Diagnosis, options: ImportOptions) -> list[Path]:
    """Draw what each reading finds on the first sample, by rank."""
    if options.overlays is None:
        return []
    if not options.samples:
        raise FlagError("--draw needs --sample: there is nothing to draw on")
    options.overlays.mkdir(parents=True, exist_ok=True)
    image = read_sample(options.samples[0])
    paths = []
    for rank, reading in enumerate(diagnosis.readings, start=1):
        if reading.proof is not None:
            path = (
                options.overlays / f"{rank}-{reading.proposal.head.get('decoder') or reading.proposal.head['task']}.png"
            )
            path.write_bytes(encode_png(draw(image, reading.proof.result)))
            paths.append(path)
    return paths
