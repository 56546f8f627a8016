"""What can stop a job as a whole; what is wrong with one image stays with that image."""

from __future__ import annotations

from pipelines.errors import OcellaError


class JobError(OcellaError):
    """A batch job cannot start or go on; what it has done so far is kept, and the same command goes on from there."""


class JobLockedError(JobError):
    """Another process works in the output folder."""


class OtherJobError(JobError):
    """The output folder belongs to a job with other sources, another model or other options."""


class TooManyErrorsError(JobError):
    """More images failed than ``--max-errors`` allows."""


class EmptySourceError(JobError):
    """A source holds no image at all."""
