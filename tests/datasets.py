"""Tiny data sets written into a folder: real photos cut small, with labels of every format."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.packages import photo, png

SIZE_WH = (60, 40)
NAMES = ("astronaut", "chelsea", "coffee")
ROTATED_BY_EXIF = 6  # stored lying, shown upright: width and height change places


def write_image(path: Path, *, number: int = 0, size_wh: tuple[int, int] = SIZE_WH) -> Path:
    """A part of a real photo, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(NAMES[number % 3], size_wh=size_wh).save(path)
    return path


def write_rotated(path: Path) -> Path:
    """A JPEG stored as 60 x 40 whose EXIF says that it is shown as 40 x 60."""
    exif = Image.Exif()
    exif[0x0112] = ROTATED_BY_EXIF
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(size_wh=SIZE_WH).save(path, exif=exif)
    return path


def folders(root: Path, counts: Mapping[str, int]) -> Path:
    """``root/<label>/<number>.png``."""
    for place, (label, count) in enumerate(counts.items()):
        for number in range(count):
            write_image(root / label / f"{number}.png", number=place + number)
    return root


def voc_object(name: str = "cat", box: Sequence[object] = (5, 6, 30, 20), *, difficult: int = 0) -> str:
    corners = "".join(f"<{tag}>{v}</{tag}>" for tag, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def voc(root: Path, objects: Mapping[str, str]) -> Path:
    """``root/<stem>.png`` with ``root/<stem>.xml`` that holds the text given."""
    for number, (stem, text) in enumerate(objects.items()):
        write_image(root / f"{stem}.png", number=number)
        xml = f"<annotation><filename>{stem}.png</filename>{text}</annotation>"
        (root / f"{stem}.xml").write_text(xml, encoding="utf-8")
    return root


def yolo(root: Path, texts: Mapping[str, str], *, names: Sequence[str] = ()) -> Path:
    """``root/images`` and ``root/labels``."""
    for number, (stem, text) in enumerate(texts.items()):
        write_image(root / "images" / f"{stem}.png", number=number)
        text_file = root / "labels" / f"{stem}.txt"
        text_file.parent.mkdir(parents=True, exist_ok=True)
        text_file.write_text(text, encoding="utf-8")
    if names:
        (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


def annotation(number: int = 1, *, image: int = 1, category: int = 7, **over: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": [5, 6, 25, 14], "iscrowd": 0} | over


def coco(root: Path, annotations: Sequence[dict[str, Any]], *, num_images: int = 1, **over: Any) -> Path:
    """``root/images/<id>.png`` and ``root/instances.json`` with categories 7 (cat) and 30 (dog)."""
    for number in range(1, num_images + 1):
        write_image(root / "images" / f"{number}.png", number=number)
    document = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(1, num_images + 1)],
        "annotations": list(annotations),
        "categories": [{"id": 30, "name": "dog"}, {"id": 7, "name": "cat"}],
    }
    (root / "instances.json").write_text(json.dumps(document | over), encoding="utf-8")
    return root


def masks(root: Path, maps: Mapping[str, np.ndarray], *, labels: Sequence[str] = ()) -> Path:
    """``root/images`` and ``root/masks`` with PNG masks."""
    for number, (stem, values) in enumerate(maps.items()):
        write_image(root / "images" / f"{stem}.png", number=number)
        (root / "masks").mkdir(exist_ok=True)
        (root / "masks" / f"{stem}.png").write_bytes(png(Image.fromarray(values)))
    if labels:
        (root / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    return root


def square(value: int = 1, *, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    """A mask of 0 with a square of ``value``."""
    values = np.zeros(size_wh[::-1], np.uint8)
    values[10:30, 10:30] = value
    return values


def palette_png(values: np.ndarray) -> bytes:
    """Class ids as palette indices, their colours anything else."""
    image = Image.fromarray(values)
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(bytes(range(255, -1, -1)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
