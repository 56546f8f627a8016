import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from export.zoo import RECIPES
from export.zoo.pull import RECORDS, pulled, steps
from pipelines.manifest import NAME_PATTERN
from pipelines.specs import DetectionHead

UPSTREAM = sorted(name for name, recipe in RECIPES.items() if recipe.reference == "upstream")
SAMPLES = [(name, sample) for name, recipe in RECIPES.items() for sample in recipe.samples]
MAX_RECORDS_BYTES = 2_000_000  # they ship in the wheel.


def record_of(name, sample):
    with np.load(RECORDS / name / f"{sample}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def image_of(name, sample):
    return Image.open(io.BytesIO((RECORDS / name / f"{sample}.png").read_bytes()))


def test_the_table_names_each_recipe_as_it_names_itself():
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}
    assert list(RECIPES) == sorted(RECIPES)
    assert all(re.fullmatch(NAME_PATTERN, name) for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_everything_is_pinned(name):
    for member in RECIPES[name].members:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", member.wheel)
        assert re.fullmatch(r"[0-9a-f]{64}", member.sha256)
        assert member.size > 0
        assert not member.path.startswith("/")


@pytest.mark.parametrize("name", RECIPES)
def test_a_licence_and_a_source_are_stated(name):
    assert RECIPES[name].license in ("MIT", "Apache-2.0")
    assert "https://" in RECIPES[name].source
    assert RECIPES[name].tolerance.reason


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_samples_are_not_square_colourful_and_need_resizing(name, sample):
    image = image_of(name, sample)
    assert image.mode == "RGB"
    assert image.width != image.height
    assert np.ptp(np.asarray(image).astype(int), axis=2).max() > 60
    record = RECORDS / name / f"{sample}.npz"
    if record.exists():
        fed = record_of(name, sample)["row_index"].max() + 1
        assert fed > 0
    fit = RECIPES[name].image.fit
    if fit.kind == "stretch_to_multiple":
        assert image.width % fit.multiple_of or image.height % fit.multiple_of


@pytest.mark.parametrize("name", UPSTREAM)
def test_upstream_records_say_what_recorded_them(name):
    versions = json.loads((RECORDS / name / "recorded_with.json").read_text())
    wheel, version = RECIPES[name].members[0].wheel.split("==")
    assert versions[wheel] == version
    script = RECORDS.parent / "upstream" / f"record_{name.replace('-', '_')}.py"
    assert versions["script"] == f"export/zoo/upstream/{script.name}"
    assert script.is_file()


@pytest.mark.parametrize("name", UPSTREAM)
def test_only_samples_of_the_recipe_are_shipped(name):
    files = {path.name for path in (RECORDS / name).iterdir()} - {"recorded_with.json"}
    assert files == {f"{sample}.{kind}" for sample in RECIPES[name].samples for kind in ("png", "npz")}


def test_records_together_stay_small():
    assert sum(path.stat().st_size for path in RECORDS.rglob("*") if path.is_file()) < MAX_RECORDS_BYTES


@pytest.mark.parametrize("name", [name for name in UPSTREAM if isinstance(RECIPES[name].head, DetectionHead)])
def test_a_low_threshold_leaves_more_detections(name):
    counts = np.array(
        [
            [len(record_of(name, sample)[f"decoded/{i}/scores"]) for sample in RECIPES[name].samples]
            for i in range(len(RECIPES[name].options))
        ]
    ).sum(axis=1)
    assert (np.diff(counts) > 0).all()


def test_face_samples_have_overlapping_candidates():
    loose = record_of("centerface", "faces")["decoded/2/boxes"]
    strict = record_of("centerface", "faces")["decoded/1/boxes"]
    assert len(loose) > 4 * len(strict) > 4 * 10


def test_page_samples_show_every_answer():
    best = [record_of("page-orientation", sample)["decoded/0/class_ids"][0] for sample in ("page-0", "page-90")]
    best += [record_of("page-orientation", sample)["decoded/0/class_ids"][0] for sample in ("page-180", "page-270")]
    assert best == [0, 1, 2, 3]


def test_nothing_is_pulled_into_an_empty_cache(tmp_path):
    assert [pulled(recipe, tmp_path) for recipe in RECIPES.values()] == [None] * len(RECIPES)


def test_the_number_of_steps_counts_wheels_and_files():
    assert steps(RECIPES["centerface"]) == 6
