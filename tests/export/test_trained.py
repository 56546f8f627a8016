"""A checkpoint of training becomes a package with the metrics that it was measured with."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

import ocella
from export.nets import build_model
from export.nets.specs import LeNet5
from export.training.checkpoint import TrainedModel, save_trained
from pipelines.loader import load_package
from pipelines.manifest import Metric


def png(seed: int) -> bytes:
    pixels = torch.randint(0, 256, (40, 48), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def saved(path: Path, samples: dict[str, bytes]) -> Path:
    """A LeNet-5 whose scores differ from image to image, as those of a trained one do."""
    torch.manual_seed(0)
    built = build_model(LeNet5(), num_classes=10)
    with torch.no_grad():
        list(built.module.parameters())[-2].mul_(20)
    path.parent.mkdir()
    save_trained(
        TrainedModel(
            module=built.module,
            image_spec=built.image,
            head_spec=built.head,
            labels=tuple(map(str, range(10))),
            metrics={"top1": Metric(value=0.987, split="test")},
            name="digits",
            description="ten digits",
            license="Apache-2.0",
            source="tests/export/test_trained.py",
            model=LeNet5(),
            num_classes=10,
            samples=samples,
        ),
        path,
    )
    return path


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tmp_path / "run" / "model.pt", {"one": png(1), "two": png(2)})


@pytest.mark.parametrize("source", ["file", "folder"])
def test_a_checkpoint_is_exported_unscaled_with_its_metrics_and_samples(checkpoint, source, tmp_path, capsys):
    given = checkpoint if source == "file" else checkpoint.parent
    words = ["export", str(given), "--exporter", "torchscript", "--out", str(tmp_path / "digits")]
    assert ocella.main(words) == 0
    assert "scaled" not in capsys.readouterr().out
    with load_package(tmp_path / "digits") as loaded:
        manifest = loaded.manifest
        assert (manifest.name, manifest.provenance.metrics["top1"].value) == ("digits", 0.987)
        assert [sample.image for sample in manifest.golden.samples] == ["golden/one.png", "golden/two.png"]
        assert manifest.golden.reference == "torch"


def test_a_checkpoint_without_samples_takes_those_of_the_caller_and_asks_for_them(tmp_path, capsys):
    path = saved(tmp_path / "run" / "model.pt", {})
    words = ["export", str(path), "--exporter", "torchscript", "--out", str(tmp_path / "digits")]
    assert ocella.main(words) == 1
    assert "model.pt holds no sample image, and a package needs one: give --sample" in capsys.readouterr().err
    (tmp_path / "mine.png").write_bytes(png(3))
    assert ocella.main([*words, "--sample", str(tmp_path / "mine.png")]) == 0


def test_a_checkpoint_takes_no_other_weights(checkpoint, capsys):
    assert ocella.main(["export", str(checkpoint), "--weights", str(checkpoint)]) == 1
    assert "--weights and --size are for models by name" in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, capsys):
    (tmp_path / "model.pt").write_bytes(b"nothing")
    assert ocella.main(["export", str(tmp_path / "model.pt")]) == 1
    err = capsys.readouterr().err
    assert "model.pt" in err
    assert len(err.splitlines()) == 1
