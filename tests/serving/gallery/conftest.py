"""A binding and vectors to fill galleries with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipelines.types import FloatArray
from serving.gallery.binding import Binding
from serving.gallery.database import GALLERY_FILE
from serving.gallery.store import Sample

DIM = 16
BINDING = Binding("a" * 64, "b" * 64, "whole image", DIM)


def directions(count: int, *, seed: int = 0, dim: int = DIM) -> FloatArray:
    """``(count, dim)`` float32 of length 1, spread evenly over all directions."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def samples(count: int, *, seed: int = 0, crop: bytes | None = None) -> list[Sample]:
    return [Sample(vector, crop) for vector in directions(count, seed=seed)]


@contextmanager
def reader(folder: Path) -> Iterator[None]:
    """Somebody who looks at a gallery and stays in that look, as a long copy does."""
    with closing(sqlite3.connect(folder / GALLERY_FILE, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM samples").fetchone()
        yield


@pytest.fixture
def binding() -> Binding:
    return BINDING
