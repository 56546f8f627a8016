"""Execution providers as ``deploy.toml`` chooses them, in the words of onnxruntime."""

from __future__ import annotations

from pipelines.session import SessionOptions
from serving.deploy import Runtime


def session_options(runtime: Runtime) -> SessionOptions:
    """How a graph is run under ``runtime``."""
    return SessionOptions(providers=runtime.providers, intra_op_threads=runtime.intra_op_threads, arena=runtime.arena)
