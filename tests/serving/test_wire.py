import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError, OverloadedError, UnknownModelError
from pipelines.options import PredictOptions
from pipelines.types import CascadeResult, Classification, Detections, Result, SegmentationMap, identical
from protos.ocella.v1 import vision_pb2 as pb
from serving.catalog import ModelStatus
from serving.client.wire import read_prediction, read_status, write_request
from serving.dataplane import Answer, PredictCall, Timings
from serving.status import failure_of
from serving.wire import (
    AnswerForm,
    check_form,
    read_call,
    read_window,
    write_answer,
    write_frame_failure,
    write_models,
    write_status_details,
)
from serving.wire_results import MASK_FORMATS
from tests.serving.results import cascades, masked_detections, results, segmentations

PLAIN = AnswerForm(id="", mask_format=pb.MASK_FORMAT_UNSPECIFIED, timings=False)
TIMINGS = Timings(0.1, 0.2, 0.3, 0.4, 0.5)


def answer_of(result: Result) -> Answer:
    image_hw = result.class_map.shape if isinstance(result, SegmentationMap) else (480, 640)
    return Answer("faces", 3, image_hw, result, TIMINGS)


def sent(message: pb.PredictResponse) -> pb.PredictResponse:
    """The message after its way through bytes."""
    return pb.PredictResponse.FromString(message.SerializeToString())


@given(result=results)
def test_every_result_arrives_equal_to_the_bit(result: Result):
    prediction = read_prediction(sent(write_answer(answer_of(result), PLAIN)))
    assert identical(prediction.result, result)


@given(result=segmentations(alpha=False))
def test_run_lengths_give_the_same_classes_as_png(result: SegmentationMap):
    form = AnswerForm(id="", mask_format=pb.MASK_FORMAT_RLE, timings=False)
    prediction = read_prediction(sent(write_answer(answer_of(result), form)))
    assert identical(prediction.result, result)


@given(result=segmentations(alpha=False))
def test_run_lengths_are_those_of_the_naive_loop(result: SegmentationMap):
    form = AnswerForm(id="", mask_format=pb.MASK_FORMAT_RLE, timings=False)
    masks = write_answer(answer_of(result), form).segmentation.class_masks
    columns = [int(value) for column in result.class_map.T for value in column]
    expected = {}
    for class_id in sorted(set(columns) - {0}):
        counts, inside = [0], False
        for value in columns:
            if (value == class_id) != inside:
                counts.append(0)
                inside = not inside
            counts[-1] += 1
        expected[class_id] = counts
    assert {mask.class_id: list(mask.counts) for mask in masks} == expected


def test_an_answer_says_who_answered_and_how_large_the_image_is():
    form = AnswerForm(id="frame 7", mask_format=0, timings=False)
    result = Classification(np.zeros(0, np.int64), np.zeros(0, np.float32))
    prediction = read_prediction(sent(write_answer(answer_of(result), form)))
    assert (prediction.id, prediction.model, prediction.version, prediction.image_hw) == (
        "frame 7",
        "faces",
        3,
        (480, 640),
    )


@pytest.mark.parametrize("asked", [True, False])
def test_timings_come_only_where_they_were_asked_for(asked: bool):
    result = Classification(np.zeros(0, np.int64), np.zeros(0, np.float32))
    prediction = read_prediction(write_answer(answer_of(result), AnswerForm("", 0, timings=asked)))
    got = prediction.timings
    assert got is None if not asked else got and asdict(got) == asdict(TIMINGS)


@pytest.mark.parametrize("mask_format", MASK_FORMATS)
def test_a_mask_format_is_refused_where_there_is_no_mask(mask_format: int):
    form = AnswerForm("", mask_format, timings=False)
    check_form(form, has_masks=True)
    check_form(PLAIN, has_masks=False)
    with pytest.raises(InvalidRequestError, match="mask_format does not apply to a model whose answers hold no mask"):
        check_form(form, has_masks=False)


@pytest.mark.parametrize("mask_format", MASK_FORMATS)
@settings(max_examples=25)
@given(result=masked_detections())
def test_masks_of_objects_arrive_equal_to_the_bit_in_every_format(mask_format: int, result: Detections):
    message = sent(write_answer(answer_of(result), AnswerForm("", mask_format, timings=False)))
    assert identical(read_prediction(message).result, result)
    used = {field.name for mask in message.detections.masks.objects for field, _ in mask.ListFields()}
    names = {pb.MASK_FORMAT_PNG: "png", pb.MASK_FORMAT_RLE: "counts", pb.MASK_FORMAT_POLYGON: "regions"}
    assert used <= {"left", "top", "width", "height", names[mask_format]}


@pytest.mark.parametrize("mask_format", MASK_FORMATS)
@settings(max_examples=25)
@given(result=cascades(alpha=False))
def test_a_cascade_arrives_equal_to_the_bit_in_every_mask_format(mask_format: int, result: CascadeResult):
    message = sent(write_answer(answer_of(result), AnswerForm("", mask_format, timings=False)))
    assert identical(read_prediction(message).result, result)


@given(result=segmentations(alpha=False))
def test_outlines_give_the_same_classes_as_png(result: SegmentationMap):
    form = AnswerForm(id="", mask_format=pb.MASK_FORMAT_POLYGON, timings=False)
    message = sent(write_answer(answer_of(result), form))
    assert identical(read_prediction(message).result, result)
    assert len(message.segmentation.class_masks) == len(set(result.class_map.ravel().tolist()) - {0})
    assert not message.segmentation.class_map_png


def test_outlines_are_in_pixels_of_the_image_and_holes_are_cut_out():
    mask = np.ones((3, 4), np.bool_)
    mask[1, 1] = False
    box = np.array([[10, 20, 14, 23]], np.float32)
    result = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64), masks=(mask,))
    form = AnswerForm("", pb.MASK_FORMAT_POLYGON, timings=False)
    ((region,),) = (each.regions for each in write_answer(answer_of(result), form).detections.masks.objects)
    assert set(zip(region.outer[::2], region.outer[1::2], strict=True)) == {(10, 20), (14, 20), (14, 23), (10, 23)}
    ((hole,),) = ([ring.points for ring in region.holes],)
    assert set(zip(hole[::2], hole[1::2], strict=True)) == {(11, 21), (12, 21), (12, 22), (11, 22)}


@given(
    score_threshold=st.none() | st.floats(0, 1),
    iou_threshold=st.none() | st.floats(0, 1),
    max_detections=st.none() | st.integers(1, 100_000),
    top_k=st.none() | st.integers(1, 100_000),
)
def test_options_arrive_as_they_were_given(
    score_threshold: float | None, iou_threshold: float | None, max_detections: int | None, top_k: int | None
):
    request = write_request(
        "faces",
        b"image",
        {
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "max_detections": max_detections,
            "top_k": top_k,
        },
        version=2,
    )
    call, form = read_call(pb.PredictRequest.FromString(request.SerializeToString()), deadline=5.0)
    options = PredictOptions(
        score_threshold=score_threshold, iou_threshold=iou_threshold, max_detections=max_detections, top_k=top_k
    )
    assert call == PredictCall(model="faces", version=2, image=b"image", options=options, deadline=5.0)
    assert form == replace(PLAIN, embeddings=True)  # the client wants faces as they are offline


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (pb.PredictOptions(score_threshold=math.nan), "score_threshold must be between 0 and 1, got nan"),
        (pb.PredictOptions(score_threshold=-0.1), "score_threshold"),
        (pb.PredictOptions(iou_threshold=1.1), "iou_threshold"),
        (pb.PredictOptions(iou_threshold=math.inf), "iou_threshold"),
        (pb.PredictOptions(max_detections=0), "max_detections must be between 1 and 100,000, got 0"),
        (pb.PredictOptions(top_k=-1), "top_k"),
        (pb.PredictOptions(mask_format=9), "mask_format must be one of MASK_FORMAT_PNG, .*MASK_FORMAT_POLYGON, got 9"),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(options: pb.PredictOptions, said: str):
    with pytest.raises(InvalidRequestError, match=said):
        read_call(pb.PredictRequest(model="faces", options=options), deadline=math.inf)


@pytest.mark.parametrize(("asked", "window"), [(0, 8), (1, 1), (256, 256)])
def test_a_window_is_read_from_the_first_request(asked: int, window: int):
    request = pb.PredictRequest(stream_options=pb.StreamOptions(window=asked))
    assert read_window(request, default=8) == window


@pytest.mark.parametrize("asked", [-1, 257])
def test_a_window_out_of_range_is_refused(asked: int):
    with pytest.raises(InvalidRequestError, match=r"stream_options\.window must be between 0 and 256"):
        read_window(pb.PredictRequest(stream_options=pb.StreamOptions(window=asked)), default=8)


def test_status_details_name_the_error_and_when_to_come_again():
    failure = failure_of(OverloadedError("full", retry_after_s=1.25), request_id="7")
    status = RpcStatus.FromString(write_status_details(failure))
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (status.code, status.message) == (8, "full")
    assert (info.reason, info.domain) == ("OverloadedError", "ocella")
    assert retry.retry_delay.ToNanoseconds() == 1_250_000_000


def test_status_details_promise_no_retry_where_none_helps():
    failure = failure_of(UnknownModelError("no model is called 'cats'"), request_id="7")
    assert len(RpcStatus.FromString(write_status_details(failure)).details) == 1


def test_a_failed_frame_answers_with_its_id_code_and_hint():
    failure = failure_of(OverloadedError("full", retry_after_s=1.25), request_id="7")
    response = write_frame_failure(failure, pb.PredictRequest(id="frame 7", model="faces", version=2))
    assert (response.id, response.model, response.version) == ("frame 7", "faces", 2)
    assert response.error == pb.Error(code=8, reason="OverloadedError", message="full", retry_after_s=1.25)


def test_model_rows_arrive_as_they_are():
    statuses = (ModelStatus("cats", 1, "", "broken"), ModelStatus("faces", 3, "detection", ""))
    rows = [read_status(row) for row in write_models(statuses).models]
    assert [(row.name, row.version, row.task, row.ready, row.reason) for row in rows] == [
        ("cats", 1, "", False, "broken"),
        ("faces", 3, "detection", True, ""),
    ]
