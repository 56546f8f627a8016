"""Pre- and post-processing of vision models: one implementation for training, evaluation, serving and batch jobs."""

import os

# Since 1.29 the Linux builds of onnxruntime report sessions (file and graph names, hashes of weights) to their maker,
# unless this is set before they are imported. Nobody who serves a model expects that; a user's own value stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
