"""The packages that are measured: real architectures, made once by our own commands, and one tiny graph; and photos."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2

from pipelines.loader import find_package
from tests.builders import classification_head, image_spec, letterbox
from tests.graphs import classifier_graph
from tests.packages import IMAGES, make_package

RESNET, MOBILENET, EFFICIENTNET = "resnet18", "mobilenet_v3_small", "efficientnet-lite0"
TINY_HW = (32, 32)
PHOTO_WH = (640, 480)
JPEG_QUALITY = 90


def exported(name: str) -> Path:
    """A torchvision classifier with random weights; the first time it is exported, which takes a minute."""
    folder = _cache() / "benchmarks" / name
    if not folder.is_dir():
        _ocella("export", name, "--out", str(folder), "--max-batch", "2")
    return folder


def pulled(name: str) -> Path:
    """A model of the zoo; the first time it is downloaded."""
    _ocella("zoo", "pull", name)
    return find_package(_cache() / "models" / name)


def tiny(root: Path) -> Path:
    """A classifier of two convolutions for rows of 3 x 32 x 32."""
    image = image_spec(fit=letterbox(size_hw=TINY_HW))
    return make_package(
        root / "tiny" / "1", graph=classifier_graph(), head=classification_head(), image=image, name="tiny"
    )


def photos() -> tuple[bytes, ...]:
    """The sample photos as JPEG files of 640 x 480."""
    files = []
    for path in sorted(IMAGES.iterdir()):
        pixels: Any = cv2.imread(str(path))
        scaled = cv2.resize(pixels, PHOTO_WH, interpolation=cv2.INTER_AREA)
        files.append(cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    return tuple(files)


def _cache() -> Path:
    return Path(os.environ.get("OCELLA_CACHE", "~/.cache/ocella")).expanduser()


def _ocella(*words: str) -> None:
    """Run one of our commands; what it says goes to standard error."""
    subprocess.run([sys.executable, "-m", "ocella", *words], check=True, stdout=sys.stderr)
