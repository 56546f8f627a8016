from pathlib import Path

import cv2
import numpy as np
import pytest

from examples.video_overlay import frames, opened, overlay
from serving.app import ListeningServer
from serving.client import VisionClient
from tests.examples.conftest import MODEL
from tests.packages import photo

FRAMES, SIZE_WH, FPS = 12, (160, 112), 10.0


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A real photo that slides to the left."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_WH)
    wide = np.asarray(photo("astronaut", size_wh=(SIZE_WH[0] + 4 * FRAMES, SIZE_WH[1])))
    for shift in range(0, 4 * FRAMES, 4):
        writer.write(np.ascontiguousarray(wide[:, shift : shift + SIZE_WH[0], ::-1]))
    writer.release()
    return path


def test_the_overlay_has_every_frame_with_what_was_found_drawn_in(
    detector: ListeningServer, video: Path, tmp_path: Path
):
    target = tmp_path / "overlay.mp4"
    with VisionClient(detector.grpc_address, timeout_s=60) as client:
        assert overlay(client, MODEL, video, target) == (FRAMES, 0)
    with opened(video) as before, opened(target) as after:
        pairs = list(zip(frames(before), frames(after), strict=True))
        assert after.get(cv2.CAP_PROP_FPS) == FPS
    assert len(pairs) == FRAMES
    # Compression alone moves few pixels by more than 60 levels; lines of boxes do, in each frame.
    assert min(np.mean(np.abs(a.astype(int) - b).max(axis=2) > 60) for a, b in pairs) > 0.005


def test_a_file_that_is_no_video_is_named(tmp_path: Path):
    (tmp_path / "notes.mp4").write_text("none")
    with pytest.raises(OSError, match=r"notes\.mp4 is no video"), opened(tmp_path / "notes.mp4"):
        pass
