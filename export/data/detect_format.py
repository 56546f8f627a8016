"""Which reader a folder is for: as asked, or as its files show; in doubt it asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from export.data.coco import read_coco, read_coco_masks
from export.data.collect import SUFFIXES, ReadOptions, image_files
from export.data.dataset import Dataset, DatasetError, Task
from export.data.image_folder import read_class_folders, read_identity_folders
from export.data.mask_folder import read_masks
from export.data.voc import read_voc
from export.data.yolo_txt import NAMES_FILES, read_yolo, yolo_folders

READERS: Mapping[str, tuple[Task, Callable[[Path, ReadOptions], Dataset]]] = MappingProxyType(
    {
        "class-folders": ("classification", read_class_folders),
        "coco": ("detection", read_coco),
        "coco-masks": ("segmentation", read_coco_masks),
        "identity-folders": ("embedding", read_identity_folders),
        "masks": ("segmentation", read_masks),
        "voc": ("detection", read_voc),
        "yolo": ("detection", read_yolo),
    }
)
DEFAULTS = ReadOptions()
LAYOUTS = (
    "folders of images (one a class or person), images/ with masks/, images/ with labels/ (YOLO), XML files (VOC), "
    "or a JSON file (COCO)"
)


def read_dataset(
    root: Path, *, format_: str | None = None, task: Task | None = None, options: ReadOptions = DEFAULTS
) -> Dataset:
    """Read a data set.

    Args:
        root: its folder, or COCO file.
        format_: name of a reader, or ``None``: as the files show.
        task: of the model it is for; decides between readers where one layout has two meanings (folders: classes or
            people; COCO: boxes or masks).
        options: of the reading.

    Raises:
        DatasetError: the format is unknown, cannot be told or is refused, or no image can be used.
    """
    if not root.exists():
        raise DatasetError(f"{root} does not exist")
    if format_ is not None and format_ not in READERS:
        raise DatasetError(f"format must be one of {', '.join(READERS)}, got {format_!r}")
    name = format_ or detect_format(root, task=task)
    return READERS[name][1](root, options)


def detect_format(root: Path, *, task: Task | None = None) -> str:
    """The name of the one reader that fits; raises DatasetError where none or several do."""
    found = _layouts(root)
    if len(found) > 1:
        raise DatasetError(f"{root} may be {' or '.join(found)}: say which with --format, or data.format of a config")
    if not found:
        raise DatasetError(f"{root} must hold {LAYOUTS}; --format, or data.format of a config, says which it is")
    if found == ["class-folders"] and task == "embedding":
        return "identity-folders"
    if found == ["coco"] and task == "segmentation":
        return "coco-masks"
    return found[0]


def _layouts(root: Path) -> list[str]:
    """Every layout that the files of a folder look like."""
    if root.is_file():
        return ["coco"] if root.suffix.lower() == ".json" else []
    found = []
    if any(root.glob("*.json")) or any((root / "annotations").glob("*.json")):
        found.append("coco")
    if any(root.glob("*.xml")) or any((root / "Annotations").glob("*.xml")):
        found.append("voc")
    if (root / "images").is_dir() and (root / "masks").is_dir():
        found.append("masks")
    folders = yolo_folders(root)
    if (folders and folders[1].is_dir()) or _text_beside_image(root):
        found.append("yolo")
    # Only where nothing else is there: `images` is a folder of images, too.
    return found or (["class-folders"] if _folders_with_images(root) else [])


def _text_beside_image(root: Path) -> bool:
    texts = (path for path in root.glob("*.txt") if path.name not in NAMES_FILES)
    stems = {path.stem for path in root.iterdir() if path.suffix.lower() in SUFFIXES}
    return any(path.stem in stems for path in texts)


def _folders_with_images(root: Path) -> bool:
    folders = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return any(next(image_files(folder), None) for folder in folders)
