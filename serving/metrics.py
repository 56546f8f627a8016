"""What the server counts, handed to whoever counts it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from serving.families import SECONDS, STAGES, Families
from serving.meters import CallMeter, Infos, ModelMeter, forget

__all__ = ["SECONDS", "STAGES", "CallMeter", "Metrics", "ModelMeter"]


class Metrics:
    """All meters over one registry; the event loop's thread counts, any thread may scrape.

    Attributes:
        call_meters: by model, version and method.
        frames_answered: requests of streams that got a result.
        frames_failed: requests of streams that got an error.
        frames_dropped: requests of streams that gave way to newer ones.
        streams_active: open streams.
    """

    def __init__(self) -> None:
        self._families = families = Families()
        self._infos: Infos = {}
        self.call_meters: dict[tuple[str, str, str], CallMeter] = {}
        self.frames_answered = families.stream_frames.labels("answered")
        self.frames_failed = families.stream_frames.labels("failed")
        self.frames_dropped = families.stream_frames.labels("dropped")
        self.streams_active = families.streams_active

    @property
    def registry(self) -> CollectorRegistry:
        """What is scraped."""
        return self._families.registry

    def model(self, name: str, version: int) -> ModelMeter:
        """The children of one model version."""
        return ModelMeter(self._families, self._infos, name, str(version))

    def forget(self, name: str, version: int) -> None:
        """Show a model version no more as one that is loaded; its counters stay."""
        forget(self._families, self._infos, name, str(version))

    def call(self, model: str, version: str, method: str) -> CallMeter:
        """The children of one method on one model version, made once."""
        key = (model, version, method)
        meter = self.call_meters.get(key)
        if meter is None:
            meter = self.call_meters[key] = CallMeter(self._families, *key)
        return meter
