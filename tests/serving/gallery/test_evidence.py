import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from pipelines.calibration import calibrate
from serving.gallery.curves import det_svg, histogram_svg, page, roc_svg
from serving.gallery.evidence import BINS, FEW_PEOPLE, doubts_of, evidence_of, to_text
from serving.gallery.gallery import read_thresholds
from tests.pipelines.test_calibration import people


@pytest.fixture(scope="module")
def measured():
    return calibrate(*people(40, 4, seed=1, spread=2.0), target_fmr=0.01)


def test_thresholds_come_back_from_the_evidence_to_the_bit(measured):
    assert read_thresholds(to_text(evidence_of(measured))) == measured.calibration.thresholds


def test_evidence_counts_every_pair_once(measured):
    histogram = evidence_of(measured)["histogram"]
    assert len(histogram["edges"]) == BINS + 1
    assert sum(histogram["genuine"]) == measured.calibration.fnmr.pairs
    assert sum(histogram["impostor"]) == measured.calibration.fmr.pairs


def test_the_kept_curve_follows_the_whole_one(measured):
    roc = evidence_of(measured)["roc"]
    kept = np.interp(measured.roc.far, roc["far"], roc["tar"])
    assert np.abs(kept - measured.roc.tar).max() < 0.05
    assert (roc["far"][-1], roc["tar"][-1]) == (1.0, 1.0)


def test_evidence_holds_no_embedding(measured):
    text = to_text(evidence_of(measured))
    assert set(json.loads(text)) == {"measured_at_s", "calibration", "doubts", "roc", "histogram"}


def test_an_embedder_that_tells_people_apart_is_not_called_weak():
    strong = calibrate(*people(40, 4, seed=1, spread=0.3), target_fmr=0.01)
    assert evidence_of(strong)["doubts"] == []


def test_an_embedder_that_hardly_does_is_called_weak_with_both_figures():
    weak = calibrate(*people(40, 4, seed=1, spread=50.0), target_fmr=0.01).calibration
    rate, share = doubts_of(weak)
    assert f"equal error rate is {weak.eer:.3f}, above 0.1" in rate
    assert f"{weak.fnmr.value:.0%} of the genuine pairs" in share


@pytest.mark.parametrize(("count", "doubts"), [(FEW_PEOPLE, 0), (FEW_PEOPLE - 1, 1)])
def test_few_people_are_a_doubt_that_says_how_many_would_do(count: int, doubts: int):
    found = doubts_of(calibrate(*people(count, 4, seed=1, spread=0.3), target_fmr=0.01).calibration)
    assert len(found) == doubts
    assert all(f"{count} people" in each and f"take {FEW_PEOPLE} or more" in each for each in found)


@pytest.mark.parametrize("draw", [roc_svg, det_svg, histogram_svg])
def test_figures_are_whole_pictures_inside_their_frame(measured, draw):
    root = ET.fromstring(draw(evidence_of(measured)))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    places = [
        (float(node.attrib[x]), float(node.attrib[y]))
        for node in root.iter()
        for x, y in (("x", "y"), ("cx", "cy"))
        if x in node.attrib
    ]
    assert len(places) > 5
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_the_page_shows_the_rates_with_their_intervals(measured):
    text = page(evidence_of(measured), title="A <title>")
    found = measured.calibration
    assert "A &lt;title&gt;" in text
    assert f"{found.fmr.value:.6g}" in text
    assert f"{found.fmr.low:.6g} to {found.fmr.high:.6g}" in text
