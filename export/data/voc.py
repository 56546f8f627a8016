"""Pascal VOC: one XML file an image, with its boxes in pixels."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from export.data.collect import SUFFIXES, Collector, RawBox, ReadOptions, inside, require_folder
from export.data.dataset import Dataset, Sample

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(root: Path, options: ReadOptions) -> Dataset:
    """Read ``ROOT/Annotations/*.xml`` with ``ROOT/JPEGImages``, or ``ROOT/*.xml`` with the images beside them.

    The image is the one that ``<filename>`` names, or where that is missing the one named as the XML file. Corners are
    taken as written: the edges of the box in pixels from the image's top left. Objects marked ``<difficult>`` count as
    crowds. The classes are the names that occur, sorted, or the labels that were given.
    """
    collector = Collector(options.on_error)
    annotations = root / "Annotations" if (require_folder(root) / "Annotations").is_dir() else root
    folder = options.images or (root / "JPEGImages" if annotations != root else root)
    files = sorted(annotations.glob("*.xml"))
    parsed = {path: tree for path in files if (tree := _parse(path, collector)) is not None}
    names = {_name(node) for tree in parsed.values() for node in tree.iter("object")} - {""}
    labels = options.labels or tuple(sorted(names))
    samples: dict[Path, Sample] = {}
    for path, tree in parsed.items():
        image = _image_of(path, tree, folder)
        if image in samples:
            collector.add(path, "image", f"each image must have one XML file, {image} has two")
        elif size_hw := collector.size(image):
            raw = [box for node in tree.iter("object") if (box := _box(node, labels, path, collector)) is not None]
            samples[image] = Sample(image, collector.boxes(raw, size_hw, path), size_hw)
    return Dataset(
        format="voc",
        root=root,
        task="detection",
        labels=labels,
        samples=tuple(samples.values()),
        problems=collector.problems,
    )


def parse_xml(data: bytes) -> ET.Element:
    """Parse an XML file that defines no document type.

    Raises:
        ValueError: it is malformed, or holds a ``<!DOCTYPE``: its entities could expand without end or name files.
    """

    def refuse(*_: object) -> None:
        raise ValueError("XML must define no document type or entities")

    scan = expat.ParserCreate()
    scan.StartDoctypeDeclHandler = refuse
    try:
        scan.Parse(data, True)
        return ET.fromstring(data)
    except (expat.ExpatError, ET.ParseError, LookupError) as error:  # LookupError: an encoding that Python has not
        raise ValueError(f"XML must be well-formed: {error}") from error


def _parse(path: Path, collector: Collector) -> ET.Element | None:
    try:
        tree = parse_xml(path.read_bytes())
        if tree.tag != "annotation":
            raise ValueError(f"the root must be <annotation>, got <{tree.tag}>")
    except (OSError, ValueError) as error:
        collector.add(path, "image", str(error))
        return None
    return tree


def _image_of(path: Path, tree: ET.Element, folder: Path) -> Path:
    """The image that an XML file is about, there or not."""
    try:
        named = inside(folder, (tree.findtext("filename") or "").strip())
    except ValueError:
        named = folder / f"{path.stem}.jpg"
    if named.is_file():
        return named
    same = sorted(image for image in folder.glob(f"{_literal(path.stem)}.*") if image.suffix.lower() in SUFFIXES)
    return same[0] if same else named


def _literal(name: str) -> str:
    """A name as a glob pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _name(node: ET.Element) -> str:
    return (node.findtext("name") or "").strip()


def _box(node: ET.Element, labels: tuple[str, ...], path: Path, collector: Collector) -> RawBox | None:
    name = _name(node)
    try:
        if not name:
            raise ValueError("an object must have a name, got none")
        if name not in labels:
            raise ValueError(f"the class must be one of {', '.join(labels[:8])}, got {name!r}")
        texts = [node.findtext(f"bndbox/{corner}") for corner in CORNERS]
        if None in texts:
            raise ValueError(f"an object must have a bndbox with {', '.join(CORNERS)}")
        x1, y1, x2, y2 = (float(text or "") for text in texts)
    except ValueError as error:
        collector.add(path, "box", str(error))
        return None
    return RawBox((x1, y1, x2, y2), labels.index(name), crowd=(node.findtext("difficult") or "0").strip() == "1")
