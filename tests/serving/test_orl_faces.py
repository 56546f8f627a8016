"""People of the ORL set that no model was trained on: enrolled with one photo, found again, strangers in between.

The embedder is ours (``models/orl-faces``) where it is built, else a tiny one: whatever it can tell apart, the gallery
answers what comparing its vectors answers, and calibration gives the figures of ``ocella evaluate``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ocella
from export.data.published import fetch_published
from pipelines.calibration import calibrate
from pipelines.matching import identify
from serving.faces_calibrate import embed_people, images_by_person
from serving.faces_local import FaceModel, LocalFaces
from serving.gallery.evidence import evidence_of, to_text
from serving.gallery.gallery import Gallery
from tests.builders import embedding_head
from tests.graphs import embedder_graph
from tests.packages import make_package

OURS = Path(__file__).parents[2] / "models" / "orl-faces"
KNOWN = 6  # of the ten people; four are strangers
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the ten people who are in no training photo."""
    return fetch_published("orl-faces", tmp_path_factory.mktemp("data"), report=lambda _: None) / "test"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if OURS.is_dir():
        return OURS
    folder = tmp_path_factory.mktemp("tiny") / "1"
    return make_package(folder, graph=embedder_graph(), head=embedding_head(), name="tiny")


def nothing_left_out(path: Path, why: str) -> None:
    pytest.fail(f"{path} was left out: {why}")


def test_verification_figures_are_those_of_evaluate(
    package: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ocella.main(["evaluate", str(package), "--data", str(data), "--far", "0.01", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)["metrics"]
    with FaceModel(package) as model:
        vectors, identities = embed_people(model, data, skip=nothing_left_out)
    measured = calibrate(vectors, identities, target_fmr=0.01).calibration
    assert {"auc": measured.auc, "eer": measured.eer, "tar_at_far_1e-2": 1 - measured.fnmr.value} == pytest.approx(
        evaluated,
        abs=1e-12,  # sums of parts of 1
    )


def test_one_photo_each_finds_the_rest_and_strangers_are_decided_by_the_threshold(
    package: Path, data: Path, tmp_path: Path
) -> None:
    people = images_by_person(data)
    with FaceModel(package) as model, Gallery(tmp_path, model.binding) as gallery:
        vectors, identities = embed_people(model, data, skip=nothing_left_out)
        measured = calibrate(vectors, identities, target_fmr=0.01)
        gallery.store.put_evidence(to_text(evidence_of(measured)))
        faces = LocalFaces(model, gallery)
        for name, images in people[:KNOWN]:
            faces.enroll(name, [images[0].read_bytes()])
        probes = [(name, path) for name, images in people for path in images[1:]]
        found = [faces.identify(path.read_bytes(), top_k=3).faces[0] for _, path in probes]
        rows = np.stack([model.faces(path.read_bytes())[1][0].vector for _, path in probes])
        enrolled = np.stack([model.faces(images[0].read_bytes())[1][0].vector for _, images in people[:KNOWN]])
    names = [name for name, _ in people[:KNOWN]]
    threshold = measured.calibration.thresholds.same
    expected = identify(rows, enrolled, names, threshold=threshold, top_k=3)
    assert [face.person for face in found] == [each.person for each in expected]
    assert [[c.person for c in face.candidates] for face in found] == [
        [match.person for match in each.candidates] for each in expected
    ]
    # Whoever is called by a wrong name is a false match of two images of the calibration, which counted all of them.
    wrong = sum(face.person not in (None, name) for (name, _), face in zip(probes, found, strict=True))
    assert wrong <= measured.calibration.fmr.events
    if package == OURS:
        known = [(name, face) for (name, _), face in zip(probes, found, strict=True) if name in names]
        best = sum(face.candidates[0].person == name for name, face in known)
        assert best > len(known) / 2  # by chance it would be one in six
