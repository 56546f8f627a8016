"""Several devices: two processes on the CPU train one model, say things once, and end together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export.training.runs import write_digit_like

ROOT = Path(__file__).parents[3]
CONFIG = """
name = "bars"
model = {kind = "lenet5"}
optimizer = {kind = "adamw", learning_rate = 0.01}
[data]
test_fraction = 0.34
[loop]
epochs = 2
batch_size = 2
accelerator = "cpu"
devices = 2
"""
# The launcher starts this file once more for the second device, which alone may meet a loss that is no number.
SCRIPT = """
import os, sys
import torch
import ocella
from export.training.tasks.classify import ClassificationTask

if os.environ.get("BREAK") == os.environ.get("LOCAL_RANK", "0"):
    sound = ClassificationTask.loss
    ClassificationTask.loss = lambda *a: {name: value * torch.nan for name, value in sound(*a).items()}
sys.exit(ocella.main())
"""


def train(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    data = write_digit_like(tmp_path / "data")
    script, plan = tmp_path / "go.py", tmp_path / "run.toml"
    script.write_text(SCRIPT)
    plan.write_text(CONFIG)
    return subprocess.run(
        [sys.executable, str(script), "train", str(plan), "--data", str(data), "--out", str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_two_devices_say_each_thing_once(tmp_path: Path) -> None:
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("epoch 1/2")]) == 1
    assert len([line for line in lines if line.startswith("held out: ")]) == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]  # eight images, two devices of two each: two steps an epoch.


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_the_second_device_ends_both(tmp_path: Path) -> None:
    done = train(tmp_path, BREAK="1")
    assert done.returncode == 1
    assert "loss must stay finite, it is nan at step 0 on device 1" in done.stderr
    assert "Traceback" not in done.stderr
