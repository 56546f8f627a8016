"""Which job an output folder belongs to, and what differs where another one is started in it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.options import PredictOptions
from serving.batch.errors import OtherJobError
from serving.batch.shard import Shard
from serving.batch.sources import Sources


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that decides what the data files hold; two runs of one identity are one job.

    Attributes:
        sources: absolute paths.
        stride: of videos.
        column: of lists.
        shard: ``i/n``.
        model: name and version.
        package_sha256: over the package's manifest, which holds the SHA-256 of its graph: the same in process and
            on a server.
        options: that change results.
    """

    sources: tuple[str, ...]
    stride: int
    column: str | None
    shard: str
    model: str
    package_sha256: str
    options: dict[str, Any]

    def to_json(self) -> str:
        """As the journal keeps it."""
        return json.dumps(asdict(self), sort_keys=True)

    def check_same(self, kept: str, *, where: str) -> None:
        """Raise OtherJobError with the first difference to what the journal of ``where`` keeps."""
        theirs, ours = json.loads(kept), json.loads(self.to_json())
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                raise OtherJobError(
                    f"{where} belongs to another job: {key.replace('_', ' ')} there {_shown(theirs.get(key))}, "
                    f"here {_shown(ours.get(key))}; give another --out, or the same command as before"
                )


def identity_of(
    sources: Sources, shard: Shard, *, model: str, version: int, manifest_json: str, options: PredictOptions
) -> Identity:
    """The identity of a job."""
    return Identity(
        sources=tuple(os.fsdecode(os.path.abspath(word)) for word in sources.words),  # noqa: PTH100, names are bytes
        stride=sources.choices.stride,
        column=sources.choices.column,
        shard=str(shard),
        model=f"{model} {version}",
        package_sha256=digest_of(manifest_json),
        options={name: value for name, value in asdict(options).items() if value is not None},
    )


def digest_of(manifest_json: str) -> str:
    """SHA-256 of a manifest, whatever the order and spacing of its JSON."""
    canonical = json.dumps(json.loads(manifest_json), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _shown(value: object) -> str:
    return json.dumps(value) if value not in (None, {}, []) else "not given"
