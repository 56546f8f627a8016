import shlex
from pathlib import Path

from export.doctor.merge import contradiction, merged, words
from export.doctor.proposal import Evidence, Proposal, detection_flags
from tests.builders import center_heatmap
from tests.export.doctor.diagnoses import flags_of

PROPOSAL = Proposal(
    title="faces",
    head=detection_flags(center_heatmap(heatmap="537"), score=0.5, iou=0.3),
    feed={"fit": "letterbox", "size": "96x128", "pad_value": 114, "resample": "opencv_linear", "stats": "unit"},
    evidence=(Evidence(1, "it fits"),),
)
MODEL = Path("model.onnx")


def test_what_was_given_comes_before_what_is_proposed() -> None:
    flags = merged(PROPOSAL, flags_of(MODEL, score_threshold=0.7, resample="opencv_area"))
    assert (flags["score_threshold"], flags["resample"], flags["iou_threshold"]) == (0.7, "opencv_area", 0.3)


def test_a_scale_that_was_given_takes_the_proposed_statistics_away() -> None:
    flags = merged(PROPOSAL, flags_of(MODEL, scale="1", mean="0,0,0", std="1,1,1"))
    assert flags["stats"] is None
    assert flags["scale"] == "1"


def test_another_fit_keeps_only_the_fields_that_it_has() -> None:
    flags = merged(PROPOSAL, flags_of(MODEL, fit="stretch"))
    assert (flags["fit"], flags["size"], flags["pad_value"]) == ("stretch", "96x128", None)


def test_no_nms_takes_the_proposed_threshold_away() -> None:
    flags = merged(PROPOSAL, flags_of(MODEL, nms=False))
    assert (flags["nms"], flags["iou_threshold"]) == (False, None)


def test_a_field_of_the_decoder_that_was_given_is_the_last() -> None:
    flags = merged(PROPOSAL, flags_of(MODEL, decoder_field=["stride=8"]))
    assert [text for text in flags["decoder_field"] if text.startswith("stride=")] == ["stride=4", "stride=8"]


def test_another_decoder_is_a_contradiction() -> None:
    assert contradiction(PROPOSAL, flags_of(MODEL)) is None
    reason = contradiction(PROPOSAL, flags_of(MODEL, decoder="yolox"))
    assert reason == "--decoder yolox was given, it has center_heatmap"


def test_an_outputs_name_that_looks_like_a_number_stays_a_name() -> None:
    assert 'heatmap="537"' in words(PROPOSAL.head)
    assert "size=size" in words(PROPOSAL.head)


def test_switches_and_lists_are_spelled_as_the_command_takes_them() -> None:
    spelled = words({"nms": False, "dynamic_batch": True, "label": ["a b", "c"]})
    assert shlex.join(spelled) == "--no-nms --dynamic-batch --label 'a b' --label c"
