"""Asks a server about every image of a folder, several at once, and writes one overlay for each that it could read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipelines.draw import draw
from pipelines.errors import OcellaError
from pipelines.image import decode_image
from pipelines.present import encode_png, summary
from serving.client import VisionClient
from serving.client.channel import DEFAULT_SERVER

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def ask(client: VisionClient, model: str, paths: list[Path], out: Path) -> int:
    """Print one line for each image, write its overlay to ``out``; returns how many could not be answered."""
    failed = 0
    answers = client.predict_many(model, paths, concurrency=8)
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, OcellaError):  # of this image alone: the others go on
            failed += 1
            print(f"{path.name}: {type(answer).__name__}: {answer}", file=sys.stderr)
            continue
        print(f"{path.name}: {summary(answer.result)}")
        image = decode_image(path.read_bytes(), exif="apply", alpha="white")
        (out / f"{path.stem}.png").write_bytes(encode_png(draw(image, answer.result)))
    return failed


def main() -> None:
    """Exit code 1 where an image could not be answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--server", nargs="+", default=[DEFAULT_SERVER], help="host:port; several share the work")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the overlays")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        with VisionClient(arguments.server) as client:
            client.wait_ready(arguments.model)
            paths = images_in(arguments.folder)
            failed = ask(client, arguments.model, paths, arguments.out)
    except (OcellaError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{len(paths) - failed} of {len(paths)} images answered, overlays in {arguments.out}/")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
