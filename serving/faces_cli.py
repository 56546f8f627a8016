"""``ocella faces``: enroll, verify, identify, calibrate, list, remove, reindex, backup; local or on a server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import InvalidRequestError, OcellaError
from serving.client.channel import check_address

if TYPE_CHECKING:
    from serving.faces_local import LocalFaces
    from serving.faces_remote import RemoteFaces


def _address(text: str | None) -> str | None:
    try:
        return text and check_address(text)
    except InvalidRequestError as error:
        raise typer.BadParameter(str(error)) from error


faces_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="""Enrol people once, verify 1:1, identify 1:K, calibrate.

    Example: ocella faces list --gallery my-gallery
    """,
)
Gallery = Annotated[Path | None, typer.Option("--gallery", metavar="DIR", help="The gallery's folder; with --package.")]
Package = Annotated[
    Path | None, typer.Option("--package", metavar="DIR", help="The package that embeds faces; with --gallery.")
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="HOST:PORT", help="Ask this server, instead of --gallery and --package.", callback=_address
    ),
]
Model = Annotated[str, typer.Option("--model", help="With --server: the model; default the only one that can.")]
Threshold = Annotated[
    float | None, typer.Option("--threshold", help="Least cosine of `same`; default the gallery's calibration.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NeededGallery = Annotated[Path, typer.Option("--gallery", metavar="DIR", help="The gallery's folder.")]
NeededPackage = Annotated[Path, typer.Option("--package", metavar="DIR", help="The package that embeds faces.")]


@faces_app.command()
def enroll(
    person: Annotated[str, typer.Argument(help="The person's name: your own, such as a number.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images with one face each.")],
    gallery: Gallery = None,
    package: Package = None,
    server: Server = None,
    model: Model = "",
    keep_crops: Annotated[
        bool, typer.Option("--keep-crops", help="Keep what the embedder saw, for reindex (a server decides itself).")
    ] = False,
) -> None:
    """Enrol a person, one image is enough; all images are taken or none.

    Example: ocella faces enroll ada ada.jpg --gallery my-gallery --package my-faces
    """
    with _opened(gallery, package, server, model, keep_crops=keep_crops) as faces:
        enrolled = faces.enroll(person, [path.read_bytes() for path in images])
    typer.echo(f"{person}: {len(images)} added, {enrolled.samples} in the gallery")


@faces_app.command()
def verify(
    probe: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image with one face.")],
    image: Annotated[Path | None, typer.Option("--image", help="Compare with this image.")] = None,
    person: Annotated[str | None, typer.Option("--person", help="Compare with this person.")] = None,
    threshold: Threshold = None,
    gallery: Gallery = None,
    package: Package = None,
    server: Server = None,
    model: Model = "",
    as_json: AsJson = False,
) -> None:
    """Compare 1:1: two images, or an image and somebody enrolled. Exit code 1 unless they are the same.

    Example: ocella faces verify probe.jpg --person ada --gallery my-gallery --package my-faces
    """
    if (image is None) == (person is None):
        raise typer.BadParameter("give one of --image and --person")
    with _opened(gallery, package, server, model) as faces:
        other = image and image.read_bytes()
        found = faces.verify(probe.read_bytes(), image=other or None, person=person, threshold=threshold)
    text = f"{found.decision}: cosine {found.score:.4f}, same from {found.thresholds.same:.4f}"
    typer.echo(json.dumps(asdict(found), indent=2) if as_json else text)
    if found.decision != "same":
        raise typer.Exit(1)


@faces_app.command()
def identify(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images with any number of faces.")],
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Most candidates a face.")] = 5,
    threshold: Threshold = None,
    gallery: Gallery = None,
    package: Package = None,
    server: Server = None,
    model: Model = "",
    as_json: AsJson = False,
) -> None:
    """Search 1:K for each face of each image; nobody is an answer.

    Example: ocella faces identify party.jpg --gallery my-gallery --package my-faces
    """
    rows: list[dict[str, Any]] = []
    failed = False
    with _opened(gallery, package, server, model) as faces:
        for path in images:
            try:
                found = faces.identify(path.read_bytes(), top_k=top_k, threshold=threshold)
            except (OcellaError, OSError) as error:
                typer.echo(f"error: {path}: {error}", err=True)
                failed = True
                continue
            named = [asdict(face) | {"person": face.person} for face in found.faces]
            rows.append({"image": str(path), "faces": named, "searched": found.searched})
            if not as_json:
                for face in found.faces or (None,):
                    typer.echo(f"{path}: {_who(face)}")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    if failed:
        raise typer.Exit(1)


@faces_app.command("list")
def list_people(
    gallery: Gallery = None, package: Package = None, server: Server = None, model: Model = "", as_json: AsJson = False
) -> None:
    """List who is enrolled.

    Example: ocella faces list --gallery my-gallery
    """
    if server is None and package is None and gallery is not None:
        from serving.gallery.store import Store

        with Store(gallery, None) as store:
            people = store.people()
    else:
        with _opened(gallery, package, server, model) as faces:
            people = faces.list_people().people
    if as_json:
        typer.echo(json.dumps([asdict(person) for person in people], indent=2))
        return
    for person in people:
        day = time.strftime("%Y-%m-%d", time.gmtime(person.enrolled_at_s))
        typer.echo(f"{person.name}  {person.samples} samples  since {day}")


@faces_app.command()
def remove(
    person: Annotated[str, typer.Argument(help="The person's name.")],
    gallery: Gallery = None,
    server: Server = None,
    model: Model = "",
) -> None:
    """Delete a person's embeddings and crops for good.

    Example: ocella faces remove ada --gallery my-gallery
    """
    if server is not None:
        with _opened(None, None, server, model) as faces:
            removed = faces.remove_person(person)
    else:
        from serving.gallery.store import Store

        with Store(_needed(gallery), None) as store:
            removed = store.remove(person)
    typer.echo(f"{person}: {removed.samples} samples deleted")
    if not removed.erased:
        typer.echo("warning: a reader keeps them in the log: run `ocella faces list` when it is done", err=True)


@faces_app.command()
def calibrate(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folders by person: DIR/<person>/<image>.")],
    package: NeededPackage,
    gallery: Gallery = None,
    target_fmr: Annotated[float, typer.Option(help="False match rate that may not be passed.")] = 0.001,
    target_fnmr: Annotated[float, typer.Option(help="Part of genuine pairs that may be called `different`.")] = 0.01,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write curves and evidence here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the threshold for a false match rate, with its evidence; with --gallery it is kept there.

    Example: ocella faces calibrate --data my-people --package my-faces --gallery my-gallery --out out/calibration
    """
    from serving.faces_calibrate import measure
    from serving.faces_local import FaceModel
    from serving.gallery.curves import det_svg, histogram_svg, page, roc_svg
    from serving.gallery.evidence import evidence_of, to_text
    from serving.gallery.store import Store

    def skip(path: Path, why: str) -> None:
        typer.echo(f"left out: {path}: {why}", err=True)

    with ExitStack() as stack:
        model = stack.enter_context(FaceModel(package))
        store = stack.enter_context(Store(gallery, model.binding)) if gallery else None
        measured = measure(model, data, target_fmr=target_fmr, target_fnmr=target_fnmr, skip=skip)
        evidence = evidence_of(measured)
        if store is not None:
            store.put_evidence(to_text(evidence))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, svg in (("roc", roc_svg), ("det", det_svg), ("histogram", histogram_svg)):
            (out / f"{name}.svg").write_text(svg(evidence), encoding="utf-8")
        (out / "evidence.json").write_text(to_text(evidence), encoding="utf-8")
        (out / "calibration.html").write_text(page(evidence, title="Calibration"), encoding="utf-8")
    found = measured.calibration
    for doubt in evidence["doubts"]:
        typer.echo(f"warning: {doubt}", err=True)
    if as_json:
        typer.echo(json.dumps(evidence["calibration"], indent=2))
        return
    typer.echo(f"same from cosine {found.thresholds.same:.4f}, different below {found.thresholds.different:.4f}")
    typer.echo(f"false matches {_rate(found.fmr)}, false non-matches {_rate(found.fnmr)}")


@faces_app.command()
def reindex(gallery: NeededGallery, package: NeededPackage) -> None:
    """Embed the kept crops of a gallery with another package; calibrate again afterwards.

    Example: ocella faces reindex --gallery my-gallery --package my-newer-faces
    """
    from serving.faces_local import FaceModel
    from serving.gallery.reindex import reindex as embed_anew

    with FaceModel(package) as model:
        count = embed_anew(gallery, model.binding, model.embed)
    typer.echo(f"{count} samples embedded anew; calibrate again: the thresholds were measured with the old embedder")


@faces_app.command()
def backup(
    gallery: NeededGallery,
    to: Annotated[Path, typer.Argument(metavar="DIR", help="New folder of the copy.")],
) -> None:
    """Copy a gallery while it is in use.

    Example: ocella faces backup my-backup --gallery my-gallery
    """
    from serving.gallery.backup import back_up

    typer.echo(f"copied to {back_up(gallery, to)}")


@contextmanager
def _opened(
    gallery: Path | None, package: Path | None, server: str | None, model: str, *, keep_crops: bool = False
) -> Iterator[RemoteFaces | LocalFaces]:
    """A server, or a package with its gallery: both have the same methods."""
    os.umask(0o077)  # what is written here is biometric
    if server is not None:
        if gallery or package:
            raise InvalidRequestError("give --server, or --gallery and --package, not both")
        from serving.faces_remote import RemoteFaces

        with RemoteFaces(server, model) as remote:
            yield remote
        return
    if package is None:
        raise InvalidRequestError("give --server, or --gallery and --package")
    from serving.faces_local import FaceModel, LocalFaces
    from serving.gallery.gallery import Gallery as OpenGallery

    with FaceModel(package) as loaded, OpenGallery(_needed(gallery), loaded.binding) as opened:
        yield LocalFaces(loaded, opened, keep_crops=keep_crops)


def _needed(gallery: Path | None) -> Path:
    if gallery is None:
        raise InvalidRequestError("give --server, or --gallery")
    return gallery


def _who(face: Any) -> str:
    if face is None:
        return "no face"
    best = f", best {face.candidates[0].person} {face.candidates[0].score:.4f}" if face.candidates else ""
    return f"{face.person or 'nobody'} ({face.decision}{best})"


def _rate(rate: Any) -> str:
    return f"{rate.value:.5f} (95 %: {rate.low:.5f} to {rate.high:.5f}, {rate.events:,} of {rate.pairs:,} pairs)"
