"""Sends a video's frames to a server as one stream, and writes the same video with what the model found drawn in."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from pipelines.draw import draw
from pipelines.errors import OcellaError
from pipelines.types import ByteArray
from serving.client import VisionClient
from serving.client.channel import DEFAULT_SERVER

JPEG_QUALITY = 95  # a frame is a compressed picture already; PNG would be ten times as many bytes
CODEC = "mp4v"
FALLBACK_FPS = 25.0


@contextmanager
def opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """A video to read; raises OSError where OpenCV cannot."""
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise OSError(f"{path} is no video that OpenCV reads")
        yield video
    finally:
        video.release()


def frames(video: cv2.VideoCapture) -> Iterator[ByteArray]:
    """The frames of a video, RGB."""
    while True:
        read, frame = video.read()
        if not read:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype("uint8", copy=False)


def jpeg(frame: ByteArray) -> bytes:
    """A frame as the server takes it."""
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def overlay(client: VisionClient, model: str, source: Path, target: Path) -> tuple[int, int]:
    """Write ``target``; returns how many frames it has, and how many of them the server could not answer."""
    sent: deque[ByteArray] = deque()  # frames whose answers are still to come, at most a window of them
    count = failed = 0

    def encoded(video: cv2.VideoCapture) -> Iterator[bytes]:
        for frame in frames(video):
            sent.append(frame)
            yield jpeg(frame)

    with opened(source) as video:
        size = round(video.get(cv2.CAP_PROP_FRAME_WIDTH)), round(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = video.get(cv2.CAP_PROP_FPS) or FALLBACK_FPS
        writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*CODEC), fps, size)  # type: ignore[attr-defined]
        try:
            # Answers come in the order of the frames; a frame that fails is an error in its place.
            for answer in client.predict_stream(model, encoded(video), timeout_s=None):
                frame = sent.popleft()
                if isinstance(answer, OcellaError):
                    failed += 1
                    print(f"frame {count}: {answer}", file=sys.stderr)
                else:
                    frame = draw(frame, answer.result)
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
                count += 1
        finally:
            writer.release()
    return count, failed


def main() -> None:
    """Print how many frames a second came through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("video", type=Path)
    parser.add_argument("--server", default=DEFAULT_SERVER, help="host:port")
    parser.add_argument("--out", type=Path, default=Path("overlay.mp4"))
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        with VisionClient(arguments.server) as client:
            client.wait_ready(arguments.model)
            count, failed = overlay(client, arguments.model, arguments.video, arguments.out)
    except (OcellaError, OSError) as error:
        sys.exit(f"error: {error}")
    seconds = time.monotonic() - started
    print(f"{arguments.out}: {count} frames, {failed} unanswered, {count / seconds:.1f} fps")


if __name__ == "__main__":
    main()
