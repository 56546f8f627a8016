"""Ocella end to end: pull three real models, serve them, ask about photos, draw what came back (``make run``)."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.table import Table

from pipelines.draw import draw
from pipelines.errors import DeadlineExceededError, OcellaError
from pipelines.image import decode_image
from pipelines.present import encode_png, summary
from pipelines.types import ByteArray
from serving.client import Prediction, VisionClient

IMAGES = Path(__file__).parent / "images"
OCELLA = Path(sys.executable).with_name("ocella")
PHOTOS = {
    "centerface": ("astronaut.png", "coffee.png"),
    "u2netp": ("chelsea.png", "coffee.png", "rocket.jpg"),
}
PAGE_MODEL, PAGE = "page-orientation", "page.png"
CLOCKWISE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
OVERVIEW = ("astronaut-centerface", "chelsea-u2netp", "coffee-u2netp")
OVERVIEW_HEIGHT = 320
CALL_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Question:
    """An encoded image for one model, by a name; ``top_k`` where only so many classes are wanted."""

    name: str
    model: str
    data: bytes
    top_k: int | None = None


def questions() -> Iterator[Question]:
    """The photos for the models that they suit, and the page in four rotations."""
    for model, photos in PHOTOS.items():
        for photo in photos:
            yield Question(Path(photo).stem, model, (IMAGES / photo).read_bytes())
    page = (IMAGES / PAGE).read_bytes()
    yield Question("page", PAGE_MODEL, page, top_k=1)
    for degrees, code in CLOCKWISE.items():
        yield Question(f"page-{degrees}", PAGE_MODEL, encode_png(cv2.rotate(pixels(page), code)), top_k=1)


def pixels(data: bytes) -> ByteArray:
    """The image that a result refers to, RGB."""
    return decode_image(data, exif="apply", alpha="white")


def pull_models() -> list[Path]:
    """Pull the models (a second pull only verifies them) and return their folders."""
    models = [*PHOTOS, PAGE_MODEL]
    subprocess.run([OCELLA, "zoo", "pull", *models], check=True)
    listed = subprocess.run([OCELLA, "zoo", "list", "--json"], check=True, stdout=subprocess.PIPE).stdout
    return [Path(row["path"]) for row in json.loads(listed) if row["name"] in models]


@contextmanager
def running_server(packages: Sequence[Path], *, port: int, http_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the packages in a process of its own, which is stopped gracefully at the end."""
    models = [word for package in packages for word in ("--models", str(package))]
    server = subprocess.Popen([OCELLA, "serve", *models, "--port", str(port), "--http-port", str(http_port)])
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


def wait_until_ready(client: VisionClient, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; end the tour where its process is gone, which has said why."""
    while True:
        try:
            client.wait_ready(timeout_s=1.0)
        except DeadlineExceededError:
            if server.poll() is not None:
                sys.exit(1)
        else:
            return


def free_port(wanted: int = 0) -> int:
    """``wanted`` where it is free now, else any port that is."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


def ask(client: VisionClient, out: Path) -> Table:
    """Ask all questions, write an overlay of each answer to ``out``, and tabulate what came back."""
    table = Table("image", "model", "answer", "inference", title="what the server answered")
    for question in questions():
        prediction = client.predict(question.model, question.data, top_k=question.top_k, timings=True)
        overlay = out / f"{question.name}-{question.model}.png"
        overlay.write_bytes(encode_png(draw(pixels(question.data), prediction.result)))
        table.add_row(question.name, question.model, summary(prediction.result), inference_time(prediction))
    return table


def inference_time(prediction: Prediction) -> str:
    """The time inside the runtime, in milliseconds."""
    return f"{prediction.timings.inference_s * 1000:.1f} ms" if prediction.timings else ""


def overview(out: Path) -> Path:
    """Put the most telling overlays side by side."""
    parts = []
    for name in OVERVIEW:
        part = pixels((out / f"{name}.png").read_bytes())
        width = round(part.shape[1] * OVERVIEW_HEIGHT / part.shape[0])
        parts.append(cv2.resize(part, (width, OVERVIEW_HEIGHT), interpolation=cv2.INTER_AREA))
    path = out / "overview.png"
    path.write_bytes(encode_png(cv2.hconcat(parts)))
    return path


def main() -> None:
    """Run the tour; with ``--keep`` the server stays until ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the overlays")
    parser.add_argument("--keep", action="store_true", help="leave the server running until ctrl-C")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    packages = pull_models()
    # A server that stays is where `ocella models`, VisionClient and the README look for one.
    port, http_port = (free_port(8001), free_port(8000)) if arguments.keep else (free_port(), free_port())
    with running_server(packages, port=port, http_port=http_port) as server:
        with VisionClient(f"127.0.0.1:{port}", timeout_s=CALL_TIMEOUT_S) as client:
            wait_until_ready(client, server)
            console = Console()
            console.print(ask(client, arguments.out))
            console.print(f"overlays in {arguments.out}/, the best side by side in {overview(arguments.out)}")
        if arguments.keep:
            console.print(f"gRPC on 127.0.0.1:{port}, HTTP on http://127.0.0.1:{http_port}/metrics; ctrl-C stops")
            try:
                server.wait()
            except KeyboardInterrupt:
                console.print("stopping")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as failed:  # a command of ours, which has said why
        sys.exit(failed.returncode)
    except OcellaError as error:
        sys.exit(f"error: {error}")
