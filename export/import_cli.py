"""``ocella import``: its flags, one for each field of a manifest, and whom they are handed to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from pipelines.specs import ClassificationHead, Decoder, Resample, SegmentationHead, Spec

_IMAGE, _FIT, _HEAD = "Image", "Fit (how an image gets its size)", "Head (what the outputs mean)"
_DOCTOR, _GOLDEN = "Doctor (what the flags leave out)", "Golden comparison (how far a replay may be off)"
_FITS = (
    "stretch (needs --size), stretch_to_multiple (--multiple-of), letterbox (--size), "
    "center_crop (--size, --resize-shorter), pad (--multiple-of), none."
)


def _choices(spec: type[Spec], field: str) -> str:
    return ", ".join(get_args(spec.model_fields[field].annotation))


_RESAMPLES = ", ".join(get_args(Resample))
_DECODERS = ", ".join(sorted(_choices(member, "kind") for member in get_args(get_args(Decoder)[0])))
_ACTIVATIONS = (
    f"classification: {_choices(ClassificationHead, 'activation')}; "
    f"segmentation: {_choices(SegmentationHead, 'activation')}."
)


def import_model_command(  # one parameter a flag, one flag a field of the manifest.
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The graph.")],
    task: Annotated[str | None, typer.Option(help="classification, detection, segmentation or embedding.")] = None,
    fit: Annotated[str | None, typer.Option(rich_help_panel=_FIT, help=_FITS)] = None,
    resample: Annotated[
        str | None, typer.Option(rich_help_panel=_IMAGE, help=f"Kernel of every resize: {_RESAMPLES}.")
    ] = None,
    sample: Annotated[list[Path] | None, typer.Option(metavar="IMAGE", help="Sample image, 1 to 4 times.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", rich_help_panel=_DOCTOR, help="Print the diagnosis, make no package.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=_DOCTOR, help="--explain: one JSON document.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", rich_help_panel=_DOCTOR, help="Ask nothing: take what is without doubt, or fail.")
    ] = False,
    overlays: Annotated[
        Path | None,
        typer.Option("--draw", metavar="DIR", rich_help_panel=_DOCTOR, help="Draw what each reading finds here."),
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Triton config.pbtxt: tensors, labels, deployment settings."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Package folder; default ./NAME.")] = None,
    name: Annotated[str | None, typer.Option(help="Model name; default the file's.")] = None,
    model_version: Annotated[int, typer.Option(min=1, max=1_000_000, help="Model version.")] = 1,
    description: Annotated[str, typer.Option(help="One line.")] = "",
    license_: Annotated[str, typer.Option("--license", help="Of graph and weights.")] = "not stated",
    source: Annotated[str | None, typer.Option(help="Where they come from; default the file's name.")] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE@SPLIT", help="Measured figure.")] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names, one a line.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME", help="One class name; repeat in order.")] = None,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Free a fixed batch, and prove it.")] = False,
    join: Annotated[
        str | None, typer.Option(metavar="BOXES,SCORES,CLASSES", help="Join three outputs of a whole detector to one.")
    ] = None,
    golden_score: Annotated[
        float | None, typer.Option(min=0, max=1, rich_help_panel=_GOLDEN, help="Scores may differ by this.")
    ] = None,
    golden_box_iou: Annotated[
        float | None, typer.Option(min=0, max=1, rich_help_panel=_GOLDEN, help="Least IoU of a matched box.")
    ] = None,
    golden_point_px: Annotated[
        float | None, typer.Option(min=1e-6, rich_help_panel=_GOLDEN, help="Points may move by so many pixels.")
    ] = None,
    golden_mask_iou: Annotated[
        float | None, typer.Option(min=0, max=1, rich_help_panel=_GOLDEN, help="Least IoU of a class's mask.")
    ] = None,
    golden_cosine: Annotated[
        float | None, typer.Option(min=0, max=1, rich_help_panel=_GOLDEN, help="Least cosine of an embedding.")
    ] = None,
    golden_rtol: Annotated[
        float | None, typer.Option(min=0, rich_help_panel=_GOLDEN, help="Raw outputs on the CPU: relative part.")
    ] = None,
    golden_atol: Annotated[
        float | None, typer.Option(min=1e-12, rich_help_panel=_GOLDEN, help="Raw outputs on the CPU: absolute part.")
    ] = None,
    golden_reason: Annotated[
        str | None, typer.Option(rich_help_panel=_GOLDEN, help="Why; needed with any of these.")
    ] = None,
    color: Annotated[str | None, typer.Option(rich_help_panel=_IMAGE, help="rgb (the default), bgr or gray.")] = None,
    exif: Annotated[
        str | None, typer.Option(rich_help_panel=_IMAGE, help="EXIF orientation: apply (the default) or ignore.")
    ] = None,
    alpha: Annotated[
        str | None, typer.Option(rich_help_panel=_IMAGE, help="Transparency: white (the default), black or drop.")
    ] = None,
    layout: Annotated[str | None, typer.Option(rich_help_panel=_IMAGE, help="chw (the default) or hwc.")] = None,
    stats: Annotated[
        str | None, typer.Option(rich_help_panel=_IMAGE, help="coco, imagenet, none, symmetric or unit.")
    ] = None,
    scale: Annotated[str | None, typer.Option(rich_help_panel=_IMAGE, help="Divisor, or image_max.")] = None,
    mean: Annotated[str | None, typer.Option(rich_help_panel=_IMAGE, help="As 0.5,0.5,0.5; order of --color.")] = None,
    std: Annotated[str | None, typer.Option(rich_help_panel=_IMAGE, help="As 0.5,0.5,0.5; order of --color.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", rich_help_panel=_FIT, help="stretch, letterbox, center_crop: row size.")
    ] = None,
    resize_shorter: Annotated[int | None, typer.Option(rich_help_panel=_FIT, help="center_crop: before it.")] = None,
    size_rounding: Annotated[
        str | None, typer.Option(rich_help_panel=_FIT, help="letterbox, center_crop: floor or nearest.")
    ] = None,
    offset_rounding: Annotated[
        str | None, typer.Option(rich_help_panel=_FIT, help="center_crop: floor or nearest.")
    ] = None,
    multiple_of: Annotated[
        int | None, typer.Option(rich_help_panel=_FIT, help="stretch_to_multiple, pad: of both sides.")
    ] = None,
    rounding: Annotated[
        str | None, typer.Option(rich_help_panel=_FIT, help="stretch_to_multiple: ceil or nearest.")
    ] = None,
    min_shorter: Annotated[
        int | None, typer.Option(rich_help_panel=_FIT, help="stretch_to_multiple: least shorter side.")
    ] = None,
    max_longer: Annotated[
        int | None, typer.Option(rich_help_panel=_FIT, help="stretch_to_multiple, pad: most longer side.")
    ] = None,
    pad_value: Annotated[int | None, typer.Option(rich_help_panel=_FIT, help="letterbox, pad: 0 to 255.")] = None,
    pad_position: Annotated[
        str | None, typer.Option(rich_help_panel=_FIT, help="letterbox: center or top_left.")
    ] = None,
    pad_rounding: Annotated[str | None, typer.Option(rich_help_panel=_FIT, help="letterbox: floor or nearest.")] = None,
    scale_up: Annotated[bool | None, typer.Option(rich_help_panel=_FIT, help="letterbox: small images too.")] = None,
    output: Annotated[str | None, typer.Option(rich_help_panel=_HEAD, help="Graph output to read.")] = None,
    activation: Annotated[str | None, typer.Option(rich_help_panel=_HEAD, help=_ACTIVATIONS)] = None,
    temperature: Annotated[float | None, typer.Option(rich_help_panel=_HEAD, help="Logits are divided by it.")] = None,
    top_k: Annotated[int | None, typer.Option(rich_help_panel=_HEAD, help="Classes to return.")] = None,
    threshold: Annotated[float | None, typer.Option(rich_help_panel=_HEAD, help="Of a mask's foreground.")] = None,
    mask_resample: Annotated[str | None, typer.Option(rich_help_panel=_HEAD, help="Kernel back to the image.")] = None,
    resized: Annotated[
        str | None,
        typer.Option(rich_help_panel=_HEAD, help="What that kernel resizes: probabilities (the default) or logits."),
    ] = None,
    class_threshold: Annotated[
        list[float] | None,
        typer.Option(rich_help_panel=_HEAD, help="Least probability of a class above the background, one each."),
    ] = None,
    embedding_dim: Annotated[int | None, typer.Option(rich_help_panel=_HEAD, help="Length of the vector.")] = None,
    normalize: Annotated[bool | None, typer.Option(rich_help_panel=_HEAD, help="Make vectors length 1.")] = None,
    decoder: Annotated[
        str | None, typer.Option(rich_help_panel=_HEAD, help=f"How detections are coded: {_DECODERS}.")
    ] = None,
    decoder_field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE", rich_help_panel=_HEAD, help="A field of the decoder; VALUE is JSON or text."
        ),
    ] = None,
    score_threshold: Annotated[
        float | None, typer.Option(rich_help_panel=_HEAD, help="Least score; classification: of many labels.")
    ] = None,
    max_detections: Annotated[int | None, typer.Option(rich_help_panel=_HEAD, help="Most detections.")] = None,
    skeleton: Annotated[str | None, typer.Option(rich_help_panel=_HEAD, help="Keypoints to join: 0-1,1-2.")] = None,
    nms: Annotated[bool | None, typer.Option(rich_help_panel=_HEAD, help="Suppress overlaps; the default.")] = None,
    suppression: Annotated[
        str | None,
        typer.Option(rich_help_panel=_HEAD, help="hard (the default), diou, soft_linear, soft_gaussian or mask."),
    ] = None,
    iou_threshold: Annotated[float | None, typer.Option(rich_help_panel=_HEAD, help="Of suppression.")] = None,
    sigma: Annotated[float | None, typer.Option(rich_help_panel=_HEAD, help="soft_gaussian: its width.")] = None,
    class_agnostic: Annotated[bool | None, typer.Option(rich_help_panel=_HEAD, help="Across classes.")] = None,
    nms_candidates: Annotated[int | None, typer.Option(rich_help_panel=_HEAD, help="Best boxes that enter.")] = None,
) -> None:
    r"""Make a package from an ONNX file of your own; sample images become its golden samples.

    What the flags leave out is read from the file where it says so, else proposed by what the graph answers: `ocella
    import MODEL.onnx --sample IMAGE --explain` shows every reading that fits, and why.

    Example:
        ocella zoo pull page-orientation
        MODEL=~/.cache/ocella/models/page-orientation/1
        ocella import $MODEL/model.onnx --name my-pages --sample $MODEL/golden/page-0.png \
            --task classification --activation none --label 0 --label 90 --label 180 --label 270 \
            --fit center_crop --size 224x224 --resize-shorter 256 \
            --size-rounding nearest --offset-rounding floor --resample opencv_lanczos4 \
            --color bgr --scale 255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
    """
    flags: dict[str, Any] = dict(locals())
    for key in ("context", "explain", "as_json", "yes", "overlays", "triton", "sample", "out"):
        del flags[key]
    if not sample and not explain:
        raise typer.BadParameter(
            "1 to 4 sample images are needed: they become the golden samples", param_hint="--sample"
        )
    if as_json and not explain:
        raise typer.BadParameter("--json has no effect without --explain", param_hint="--json")
    from export.flag_values import FlagError
    from export.import_run import ImportOptions, run_import
    from export.import_run import explain as explain_model

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    options = ImportOptions(
        samples=tuple(sample or ()),
        out=out,
        overlays=overlays,
        triton=None if triton is None else (triton, context.obj.triton_config(triton)),
        yes=yes,
        ask=ask_on_terminal if terminal and not yes else None,
        show=lambda text: typer.echo(text, err=not terminal),
    )
    try:
        if explain:
            typer.echo(explain_model(model, flags, options, as_json=as_json))
            return
        manifest, folder = run_import(model, flags, options)
    except FlagError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{manifest.name} {manifest.version} ({manifest.head.task}): {folder}")
    typer.echo("golden results recorded with onnxruntime itself: they prove stability, not correctness")


def ask_on_terminal(question: str) -> str:
    """Ask on the terminal; an end of input is a no."""
    try:
        return input(question)
    except EOFError:
        return "n"
