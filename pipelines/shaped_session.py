"""A graph on a GPU: a session for each shape, batches padded to few sizes and copied from page-locked memory.

onnxruntime's convolutions on CUDA hold cuDNN's plans for one shape, the latest. Measured on one H100, ResNet-18: a run
of another number of rows than the one before takes 35 ms, of the same number 1 to 5 ms.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from pipelines.errors import OcellaError
from pipelines.pinned import Staging
from pipelines.session import CUDA, GraphSession, OnnxSession, RunControl, SessionOptions
from pipelines.types import AnyArray

# Twos and threes are padded to four: on one H100 a ResNet-18 of 4 rows takes 1.47 ms, of 2 rows 1.29 ms.
SIZES = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_Key = tuple[tuple[int, ...], ...]


def open_session(
    path: Path, options: SessionOptions | None = None, *, outputs: Sequence[str] | None = None
) -> OnnxSession | ShapedSession:
    """A session of the graph as ``options`` want it; raises what ``OnnxSession`` raises."""
    first = OnnxSession(path, options, outputs=outputs)
    if options is None or first.provider != CUDA:
        return first
    device = int(options.provider_options.get(CUDA, {}).get("device_id", "0"))
    return ShapedSession(
        first, lambda: OnnxSession(path, options, outputs=outputs), most=options.most_shapes, device=device
    )


class ShapedSession:
    """Sessions of one graph, each kept to one shape; see ``GraphSession``.

    Attributes:
        inputs: of the graph.
        outputs: those that ``run`` returns unasked.
        graph_outputs: of the graph.
        provider: that runs it.
        fallback: why the provider is not the one that was asked for; empty where it is.
    """

    def __init__(self, first: OnnxSession, another: Callable[[], OnnxSession], *, most: int, device: int) -> None:
        """Begin with one session.

        Args:
            first: of the graph.
            another: makes one more.
            most: sessions in all; a further shape takes the one whose last run is longest ago.
            device: the GPU.
        """
        self.inputs, self.outputs, self.graph_outputs = first.inputs, first.outputs, first.graph_outputs
        self.provider, self.fallback = first.provider, first.fallback
        self._first, self._another, self._most = first, another, most
        self._padded = all(spec.shape and not isinstance(spec.shape[0], int) for spec in first.inputs)
        self._first_axis = {spec.name: spec.shape[0] for spec in first.graph_outputs if spec.shape}
        self._by_shape: OrderedDict[_Key, OnnxSession] = OrderedDict()
        self._closed = False
        self._lock = threading.Lock()
        self._growing = threading.Lock()  # held while a session is made, when runs of known shapes must go on
        self._device = device
        self._staging = Staging(device=device)

    def sizes(self, most: int) -> tuple[int, ...]:
        """Rows of the runs that batches of up to ``most`` rows are padded to; none where batches have one size."""
        if not self._padded:
            return ()
        return tuple(dict.fromkeys(self._size(rows) for rows in range(1, most + 1)))

    def padding(self, rows: int) -> int:
        """Rows that a run of so many rows computes beside them."""
        return self._size(rows) - rows

    def join(self, name: str, parts: Sequence[AnyArray]) -> AnyArray:
        """The parts as one batch of the input ``name``, where the calling thread's next ``run`` need not copy it."""
        first = parts[0]
        if first.dtype.hasobject:  # strings: onnxruntime takes them one by one
            return np.concatenate(parts)
        rows = sum(map(len, parts))
        staged = self._staging.batch(name, (self._size(rows), *first.shape[1:]), first.dtype)[:rows]
        np.concatenate(parts, out=staged)
        return staged

    def run(
        self, feeds: Mapping[str, AnyArray], *, outputs: Sequence[str] | None = None, control: RunControl | None = None
    ) -> dict[str, AnyArray]:
        """Run a batch; see ``GraphSession``."""
        if not feeds or any(value.ndim == 0 or value.dtype.hasobject for value in feeds.values()):
            return self._first.run(feeds, outputs=outputs, control=control)
        rows = len(next(iter(feeds.values())))
        staged = {name: self._stage(name, value) for name, value in feeds.items()}
        answers = self._of_shape(tuple(value.shape for value in staged.values())).run(
            staged, outputs=outputs, control=control
        )
        size = self._size(rows)
        if size == rows:
            return answers
        return {name: self._cut(name, value, size, rows) for name, value in answers.items()}

    def close(self) -> None:
        """Drop all sessions and batches; their memory goes when the last running ``run`` returns."""
        with self._lock:
            self._closed = True
            for session in (self._first, *self._by_shape.values()):
                session.close()
            self._staging = Staging(device=self._device)  # the blocks of threads that live on go with the old one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _size(self, rows: int) -> int:
        if not self._padded:
            return rows
        return next((size for size in SIZES if size >= rows), rows)

    def _cut(self, name: str, value: AnyArray, size: int, rows: int) -> AnyArray:
        """An output without its rows of padding; one that always has ``size`` rows never had any."""
        padded = value.ndim > 0 and len(value) == size and self._first_axis.get(name) != size
        return value[:rows] if padded else value

    def _stage(self, name: str, value: AnyArray) -> AnyArray:
        """The batch with its padding, in page-locked memory; rows of padding hold earlier rows, or zeros."""
        staged = self._staging.batch(name, (self._size(len(value)), *value.shape[1:]), value.dtype)
        if staged.ctypes.data != value.ctypes.data:  # else ``join`` has put it there
            staged[: len(value)] = value
        return staged

    def _of_shape(self, key: _Key) -> OnnxSession:
        session = self._known(key)
        if session is None:
            with self._growing:  # two runs of one new shape make one session
                session = self._known(key) or self._placed(key, self._more())
        return session

    def _known(self, key: _Key) -> OnnxSession | None:
        with self._lock:
            session = self._by_shape.get(key)
            if session is not None:
                self._by_shape.move_to_end(key)
            return session

    def _placed(self, key: _Key, session: OnnxSession | None) -> OnnxSession:
        """The session of a new shape: the one given, or that of the shape whose last run is longest ago."""
        with self._lock:
            if session is None:
                _, session = self._by_shape.popitem(last=False)
            if self._closed:  # while it was made
                session.close()
            self._by_shape[key] = session
            return session

    def _more(self) -> OnnxSession | None:
        """A session that had no shape yet; ``None`` where there are enough, or no memory for one more."""
        if not self._by_shape:
            return self._first
        if self._closed or len(self._by_shape) >= self._most:
            return None
        try:
            session = self._another()
            if session.provider == self.provider:
                return session
            session.close()  # it fell back, which nobody would be told
        except OcellaError:
            pass
        self._most = len(self._by_shape)
        return None


def batch_sizes(session: GraphSession, most: int) -> tuple[int, ...]:
    """Rows of the runs that a session makes of batches of up to ``most`` rows, where each needs a first run."""
    sizes: Callable[[int], tuple[int, ...]] | None = getattr(session, "sizes", None)
    return sizes(most) if sizes else ()
