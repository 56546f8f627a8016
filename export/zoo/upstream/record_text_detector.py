"""Records the text detector's golden results with RapidOCR's own code.

In an environment of its own: ``pip install rapidocr-onnxruntime==1.4.4``, then
``python record_text_detector.py SAMPLES OUT``; ``condense.py`` turns OUT into the records that are shipped.

The row is what RapidOCR's own resize gives, before its normalisation; the script checks that its normalisation of that
row is what it hands to onnxruntime. RapidOCR's detector drops the scores of its boxes and filters the boxes: here its
filter runs box by box, so that each that stays keeps its score. Thresholds: RapidOCR's own 0.5, and 0.1.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-not-found]

THRESHOLDS = (0.5, 0.1)
OUTPUT = "sigmoid_0.tmp_0"


class Recorder:
    """Passes a call on to a session and keeps what went in and came out."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __call__(self, rows: Any) -> Any:
        """As RapidOCR's session."""
        self.row = rows[0]
        values = self.session(rows)
        self.output = values[0][0]
        return values


def record(engine: Any, path: Path) -> dict[str, Any]:
    """All arrays of one sample."""
    detector = engine.text_det
    image = engine.load_img(str(path))
    hw = image.shape[:2]
    assert engine.maybe_add_letterbox(*engine.preprocess(image)[:1], {})[0].shape == image.shape, "no padding, no cut"
    arrays: dict[str, Any] = {}
    for i, threshold in enumerate(THRESHOLDS):
        detector.postprocess_op.box_thresh = threshold
        found, _ = detector(image)
        boxes, scores = detector.postprocess_op(detector.infer.output[None], hw)
        kept = [(detector.filter_tag_det_res(box[None], hw), score) for box, score in zip(boxes, scores, strict=True)]
        kept = sorted(((polygon[0], score) for polygon, score in kept if len(polygon)), key=lambda pair: -pair[1])
        assert len(kept) == len(found), "the filter must answer the same box by box"
        polygons = np.array([polygon for polygon, _ in kept], np.float32).reshape(-1, 4, 2)
        arrays[f"decoded/{i}/polygons"] = polygons
        arrays[f"decoded/{i}/boxes"] = np.concatenate([polygons.min(axis=1), polygons.max(axis=1)], axis=1)
        arrays[f"decoded/{i}/scores"] = np.array([score for _, score in kept], np.float32)
        arrays[f"decoded/{i}/class_ids"] = np.zeros(len(kept), np.int64)
    steps = detector.preprocess_op
    pixels = steps.resize(image)
    row = steps.permute(steps.normalize(pixels)).astype(np.float32)
    assert np.array_equal(row, detector.infer.row), "the row must be what RapidOCR fed"
    return arrays | {"pixels": pixels, f"raw/{OUTPUT}": detector.infer.output}


def main(samples: Path, out: Path) -> None:
    """Record every PNG of ``samples`` into ``out``."""
    engine = RapidOCR()
    engine.text_det.infer = Recorder(engine.text_det.infer)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(samples.glob("*.png")):
        np.savez(out / f"{path.stem}.npz", **record(engine, path))
    tools = ("rapidocr-onnxruntime", "onnxruntime", "opencv-python", "numpy", "pyclipper")
    versions = {tool: version(tool) for tool in tools} | {"script": "export/zoo/upstream/record_text_detector.py"}
    (out / "recorded_with.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
