"""Frames of a video: every n-th, with number and time, equal to what OpenCV reads one by one."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

import cv2
import pytest

from serving.batch.sources.video import _if_cut, encode_bmp
from tests.serving.batch.jobs import VIDEO_FPS, FakeEngine, data_files, rows, run, video_file

NUM_FRAMES, FPS = 24, VIDEO_FPS


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return video_file(tmp_path / "clip.avi", NUM_FRAMES)


def frames_one_by_one(path: Path) -> list[bytes]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        done, frame = capture.read()
        if not done:
            return frames
        frames.append(encode_bmp(frame))


def test_every_nth_frame_has_a_row_with_its_number_and_time(tmp_path: Path, video: Path):
    run(tmp_path / "out", video, stride=5)
    found = rows(tmp_path / "out")
    assert [row["frame"] for row in found] == [0, 5, 10, 15, 20]
    assert [row["time_s"] for row in found] == pytest.approx([0, 0.5, 1.0, 1.5, 2.0])
    assert found[1]["source"] == f"{video}#frame=5"


def test_the_frames_are_those_of_the_file(tmp_path: Path, video: Path):
    expected = frames_one_by_one(video)
    assert len(expected) == NUM_FRAMES
    run(tmp_path / "out", video)
    assert [row["sha256"] for row in rows(tmp_path / "out")] == [sha256(frame).hexdigest() for frame in expected]


def test_a_second_run_decodes_and_computes_no_frame(tmp_path: Path, video: Path):
    run(tmp_path / "out", video)
    before, engine = data_files(tmp_path / "out"), FakeEngine()
    run(tmp_path / "out", video, engine=engine)
    assert engine.asked == []
    assert data_files(tmp_path / "out") == before


@pytest.mark.parametrize("stride", [1, 5])
def test_a_video_that_is_cut_in_the_middle_is_an_error_behind_its_frames(tmp_path: Path, video: Path, stride: int):
    os.truncate(video, video.stat().st_size // 2)
    assert run(tmp_path / "out", video, stride=stride).complete
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    found = rows(tmp_path / "out")
    assert 5 <= found[-1]["frame"] < 15
    assert error["source"] == str(video)
    assert re.match(r"a video must be whole, it has \d+ of the 24 frames that it announces", error["message"])


def test_a_video_whose_header_estimates_too_many_frames_is_whole(tmp_path: Path):
    """As of a screen's recording: 12 frames within 2.4 s, and a rate of 10 frames a second that makes it 24."""

    class Capture:
        def get(self, property_id: int) -> float:
            return {cv2.CAP_PROP_FRAME_COUNT: 24.0, cv2.CAP_PROP_FPS: 10.0}[property_id]

    assert _if_cut(Capture(), 12, 2.3) == 0  # type: ignore[arg-type]
    assert _if_cut(Capture(), 12, 1.1) == 24  # type: ignore[arg-type]


def test_a_video_whose_name_is_not_utf8_has_its_frames(tmp_path: Path, video: Path):
    odd = os.fsencode(tmp_path) + b"/\xff.avi"
    video.rename(os.fsdecode(odd))
    run(tmp_path / "out", os.fsdecode(odd), stride=5)
    assert [row["frame"] for row in rows(tmp_path / "out")] == [0, 5, 10, 15, 20]


def test_files_of_each_frame_are_named_by_its_number(tmp_path: Path, video: Path):
    run(tmp_path / "out", video, stride=10, formats=("yolo",))
    found = {path.name for path in (tmp_path / "out" / "labels").iterdir()}
    assert found == {"clip.avi-00000000.txt", "clip.avi-00000010.txt", "clip.avi-00000020.txt", "classes.txt"}


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    run(tmp_path / "out", tmp_path / "clip.mp4")
    assert "a video must be of a format that FFmpeg reads" in rows(tmp_path / "out", "errors.jsonl")[0]["message"]
