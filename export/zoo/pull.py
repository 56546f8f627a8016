"""From a recipe to a checked package in the cache, once; a second pull only verifies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from export.graph import graph_bytes, opset_of
from export.package import GOLDEN_FOLDER, PackageDraft, Sample, write_package
from export.verify import Parity, different_rows, prove_rows, prove_same
from export.zoo.fetch import fetch_members
from export.zoo.recipe import BuiltGraph, ZooRecipe
from pipelines.errors import MissingExtraError, PackageError
from pipelines.image import ImageLimits, decode_image
from pipelines.loader import load_package
from pipelines.manifest import MANIFEST_FILE, Provenance
from pipelines.preprocess import preprocess
from pipelines.session import ONNXRUNTIME_VERSION, OnnxSession
from pipelines.types import AnyArray

RECORDS = Path(__file__).parent / GOLDEN_FOLDER
PROOF_ROWS = 4
_EXTRA_MODULES = {"import": ("onnx",), "export": ("onnx", "torch", "torchvision", "onnxscript")}


def package_folder(recipe: ZooRecipe, root: Path) -> Path:
    """Where the package of a recipe lives in a repository: ``<root>/<name>/<version>``."""
    return root / recipe.name / str(recipe.version)


def pulled(recipe: ZooRecipe, root: Path) -> Path | None:
    """The folder of a pulled package, or ``None``; nothing is verified."""
    folder = package_folder(recipe, root)
    return folder if (folder / MANIFEST_FILE).is_file() else None


def steps(recipe: ZooRecipe) -> int:
    """How many lines ``pull`` reports where the package is not there yet."""
    return len({member.wheel for member in recipe.members}) + len(recipe.members) + 4


def pull(recipe: ZooRecipe, root: Path, *, report: Callable[[str], None]) -> Path:
    """Make the package of ``recipe`` under ``root`` unless a good one is there; returns its folder.

    ``report`` gets one line a step. Raises DownloadError, MissingExtraError, RecipeError where a proof fails, or
    PackageError where the golden replay does; in each case nothing is left behind.
    """
    folder = package_folder(recipe, root)
    if pulled(recipe, root) is not None:
        try:
            load_package(folder).close()
        except PackageError as error:
            report(f"the pulled package is damaged and is made anew: {error}")
        else:
            report(f"already there: {folder}")
            return folder
    _require_extra(recipe)
    with tempfile.TemporaryDirectory(prefix="ocella-zoo-") as temporary:
        members = fetch_members(recipe.members, Path(temporary), report=report)
        report("building the graph")
        built = recipe.build(members)
        graph = graph_bytes(built.model)
        report(f"proving {PROOF_ROWS} rows equal to the published graph's")
        parity = _prove(recipe, built, graph)
        report("replaying the golden samples")
        write_package(
            folder,
            _draft(recipe, built, parity),
            graph=graph,
            samples=[_sample(recipe, name) for name in recipe.samples],
            reference=built.original,
            replace=folder.exists(),
        )
    report(f"ready: {folder}")
    return folder


def _require_extra(recipe: ZooRecipe) -> None:
    for module in _EXTRA_MODULES[recipe.extra]:
        try:
            version(module)
        except PackageNotFoundError as error:
            raise MissingExtraError(f"{recipe.name} needs {module}: pip install 'ocella[{recipe.extra}]'") from error


def _sample(recipe: ZooRecipe, name: str) -> Sample:
    folder = RECORDS / recipe.name
    image = (folder / f"{name}.png").read_bytes()
    if recipe.reference != "upstream":
        return Sample(name, image)
    with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
        return Sample(name, image, {key: archive[key] for key in archive.files})


def _draft(recipe: ZooRecipe, built: BuiltGraph, parity: dict[str, Parity]) -> PackageDraft:
    # onnxruntime's own word: on a GPU its distribution has another name.
    own = {"onnx": version("onnx"), "onnxruntime": ONNXRUNTIME_VERSION, "numpy": version("numpy")}
    tools = {**own, **built.tools}
    recorded_with = tools
    if recipe.reference == "upstream":
        recorded_with = json.loads((RECORDS / recipe.name / "recorded_with.json").read_text(encoding="utf-8"))
    return PackageDraft(
        name=recipe.name,
        version=recipe.version,
        description=recipe.description,
        license=recipe.license,
        source=recipe.source,
        image=recipe.image,
        head=recipe.head,
        labels=built.labels,
        provenance=Provenance(
            tools=tools,
            opset=opset_of(built.model),
            metrics={},
            parity={
                "rewrites": dict(built.rewrites),
                **{name: asdict(proof) for name, proof in parity.items()},
            },
        ),
        reference=recipe.reference,
        recorded_with=recorded_with,
        options=recipe.options,
        tolerance=recipe.tolerance,
    )


def _prove(recipe: ZooRecipe, built: BuiltGraph, graph: bytes) -> dict[str, Parity]:
    """Prove that rows do not see each other and that the graph still answers as published; raises RecipeError."""
    image = decode_image(
        (RECORDS / recipe.name / f"{recipe.samples[0]}.png").read_bytes(),
        exif=recipe.image.exif,
        alpha=recipe.image.alpha,
        limits=ImageLimits(),
    )
    row, _ = preprocess(image, recipe.image)
    rows = different_rows(row, count=PROOF_ROWS, layout=recipe.image.layout)
    with tempfile.TemporaryDirectory(prefix="ocella-graph-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        with OnnxSession(path) as session:
            parity = {"batch_against_single": prove_rows(session, rows)}
            original = built.original()
            try:
                shape = original.inputs[0].shape
                for count in (shape[0],) if isinstance(shape[0], int) else (1, PROOF_ROWS):
                    batch = _fit_shape(different_rows(row, count=count, layout=recipe.image.layout), shape)
                    parity[f"published_at_batch_{count}"] = prove_same(
                        original, session, batch, tolerance=built.original_tolerance
                    )
            finally:
                original.close()
    return parity


def _fit_shape(batch: AnyArray, shape: tuple[int | str, ...]) -> AnyArray:
    """Cut the middle of rows where the published graph is fixed to a smaller size."""
    cuts = []
    for have, want in zip(batch.shape[1:], shape[1:], strict=True):
        start = (have - want) // 2 if isinstance(want, int) else 0
        cuts.append(slice(start, start + want if isinstance(want, int) else have))
    return np.ascontiguousarray(batch[(slice(None), *cuts)])
