"""Frames of a video: every n-th, with number and time, equal to what OpenCV reads one by one."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import cv2
import pytest

from serving.batch.sources.video import encode_bmp
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


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    run(tmp_path / "out", tmp_path / "clip.mp4")
    assert "a video must be of a format that FFmpeg reads" in rows(tmp_path / "out", "errors.jsonl")[0]["message"]
