"""A cascade package made of two packages: copied in, joined, recorded, checked, in one step or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.package import GOLDEN_FOLDER, npz_bytes, runtime_versions
from pipelines.errors import ImageDecodeError, ImageTooLargeError, PackageError, RecipeError
from pipelines.golden_cascade import record_cascade
from pipelines.image import ImageLimits
from pipelines.loader import LoadedModel, load_model, load_package, sha256_of
from pipelines.manifest import (
    CascadeGolden,
    CascadeManifest,
    CascadeProvenance,
    GoldenOptions,
    GoldenSample,
    ResultTolerance,
    write_manifest,
)
from pipelines.present import encode_png
from pipelines.rerecord import bind_member
from pipelines.specs import CascadeHead, Crop, DecodeSpec
from pipelines.tasks import CascadePipeline, CascadeSessions

DETECTOR_FOLDER, SECOND_FOLDER = "detector", "second"
MAX_SAMPLES = 4
_UNSEALED = "0" * 64  # write_manifest puts the true seal in its place.
# On one machine the nested results repeat to the bit. Elsewhere a box moves by a fraction of a pixel, and its crop by
# a whole one: a shift of a pixel or two is what these allow for.
TOLERANCE = ResultTolerance(
    score=0.05,
    box_iou=0.95,
    point_px=2.0,
    mask_iou=0.9,
    cosine=0.99,
    reason="a box that moves by a fraction of a pixel may move its crop by a whole one",
)


@dataclass(frozen=True, kw_only=True)
class CascadeRecipe:
    """What a cascade's manifest says beyond its two members.

    Attributes:
        name: of the model, as in a repository.
        version: 1 and up.
        description: one line.
        crop: how an object becomes the second model's image.
        classes: ids of the detector's classes that go on; ``None``: all.
        min_size_px: least length of a box's shorter side.
        max_objects: most objects of an image that go on.
        options: each golden sample is answered once with each.
    """

    name: str
    version: int
    description: str
    crop: Crop
    classes: tuple[int, ...] | None = None
    min_size_px: float = 0.0
    max_objects: int = 100
    options: tuple[GoldenOptions, ...] = (GoldenOptions(score_threshold=None, iou_threshold=None),)


def write_cascade(
    folder: Path, recipe: CascadeRecipe, *, detector: Path, second: Path, samples: Sequence[Path]
) -> CascadeManifest:
    """Write a cascade of the packages ``detector`` and ``second`` into ``folder``; returns its sealed manifest.

    Both are copied, so that the folder is whole. The nested results of each sample image are recorded with onnxruntime,
    and the finished package is loaded with every check before anybody can see it.

    Raises:
        PackageError: ``folder`` exists, a member is no intact package of a graph of its own, or the two do not fit.
        RecipeError: not one to four samples, or a sample in which no object goes on.
        ImageDecodeError, ImageTooLargeError: a sample is no image.
    """
    if folder.exists():
        raise PackageError(f"{folder} exists already")
    if not 1 <= len(samples) <= MAX_SAMPLES:
        raise RecipeError(f"a cascade needs 1 to {MAX_SAMPLES} sample images, got {len(samples)}")
    with load_model(detector) as first, load_model(second) as other, _beside(folder) as unfinished:
        for loaded, name in ((first, DETECTOR_FOLDER), (other, SECOND_FOLDER)):
            shutil.copytree(loaded.folder, unfinished / name, ignore=shutil.ignore_patterns(".*"))
        manifest = _manifest(unfinished, recipe, first, other, count=len(samples))
        pipeline = CascadePipeline(manifest, first.pipeline, other.pipeline)
        files = _record(unfinished, pipeline, CascadeSessions(first.session, other.session), samples)
        manifest = write_manifest(manifest.model_copy(update={"files": files}), unfinished)
        load_package(unfinished).close()
        unfinished.rename(folder)
    return manifest


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new folder on the same file system, inside a hidden one; it is gone afterwards unless it was renamed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as hidden:
        unfinished = Path(hidden) / folder.name
        unfinished.mkdir()
        yield unfinished


def _manifest(
    folder: Path, recipe: CascadeRecipe, detector: LoadedModel, second: LoadedModel, *, count: int
) -> CascadeManifest:
    image = detector.manifest.image
    sources = " and ".join(f"{member.manifest.name} {member.manifest.version}" for member in (detector, second))
    licenses = dict.fromkeys(member.manifest.license for member in (detector, second))
    return CascadeManifest(
        schema_version=1,
        name=recipe.name,
        version=recipe.version,
        description=recipe.description,
        license=" AND ".join(licenses),
        source=f"a cascade of {sources}",
        image=DecodeSpec(exif=image.exif, alpha=image.alpha),
        head=CascadeHead(
            task="cascade",
            detector=bind_member(folder, DETECTOR_FOLDER),
            second=bind_member(folder, SECOND_FOLDER),
            crop=recipe.crop,
            classes=recipe.classes,
            min_size_px=recipe.min_size_px,
            max_objects=recipe.max_objects,
        ),
        files={},
        golden=CascadeGolden(
            reference="onnxruntime",
            recorded_with=runtime_versions(),
            options=recipe.options,
            samples=tuple(_place(i) for i in range(count)),
            tolerance=TOLERANCE,
        ),
        seal=_UNSEALED,
        provenance=CascadeProvenance(tools=runtime_versions(), metrics={}),
    )


def _place(index: int) -> GoldenSample:
    return GoldenSample(image=f"{GOLDEN_FOLDER}/sample-{index}.png", record=f"{GOLDEN_FOLDER}/sample-{index}.npz")


def _record(
    folder: Path, pipeline: CascadePipeline, sessions: CascadeSessions, samples: Sequence[Path]
) -> dict[str, str]:
    """Write each sample as PNG with its nested results; returns the SHA-256 of what was written, by path."""
    (folder / GOLDEN_FOLDER).mkdir()
    files: dict[str, str] = {}
    for i, sample in enumerate(samples):
        place = _place(i)
        image = _read(sample, pipeline)
        data = encode_png(image)
        record = record_cascade(pipeline, sessions, data, pipeline.manifest.golden.options)
        if not any(name.endswith("detections/scores") and len(values) for name, values in record.items()):
            raise RecipeError(f"sample {sample} must show an object that goes on to the second model, it shows none")
        (folder / place.image).write_bytes(data)
        (folder / place.record).write_bytes(npz_bytes(record))
        files |= {name: sha256_of(folder / name) for name in (place.image, place.record)}
    return files


def _read(sample: Path, pipeline: CascadePipeline) -> np.ndarray:
    try:
        return pipeline.decode(sample.read_bytes(), ImageLimits())
    except OSError as error:
        raise RecipeError(f"sample {sample} cannot be read: {error.strerror}") from error
    except (ImageDecodeError, ImageTooLargeError) as error:
        raise type(error)(f"sample {sample}: {error}") from error
