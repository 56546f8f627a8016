"""``[ray]`` of ``deploy.toml``: how many replicas of a model there are, and what each takes of the cluster."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.specs import Spec


class RayChoices(Spec):
    """A model's replicas under ``ocella serve --ray``; without it these choices do nothing.

    Attributes:
        min_replicas: fewest; 0: none while nothing is asked, the first request then waits for a load.
        max_replicas: most.
        target_ongoing_requests: inside one replica, on average, that the number of replicas follows.
        upscale_delay_s: for so long more must be wanted before a replica is added.
        downscale_delay_s: for so long fewer must be wanted before a replica is taken away.
        num_cpus: that one replica claims of the cluster, and the cores that it computes with (at least one).
        num_gpus: that one replica claims of the cluster.
        max_ongoing_requests: that a replica takes in; keep it above what ``[batching]`` lets in, so that the model
            itself refuses, and says when to come again.
        max_queued_requests: that each router holds back while all replicas are full; one more is refused.
    """

    min_replicas: Annotated[int, Field(ge=0, le=10_000)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = 4
    target_ongoing_requests: Annotated[float, Field(gt=0, le=100_000)] = 4.0
    upscale_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    downscale_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    num_cpus: Annotated[float, Field(ge=0, le=1024)] = 1.0
    num_gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    max_ongoing_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    max_queued_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 1024

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas must be at most max_replicas, got {self.min_replicas} and {self.max_replicas}"
            )
        return self

    @property
    def cores(self) -> int:
        """That a replica computes with."""
        return max(1, int(self.num_cpus))
