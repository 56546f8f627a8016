"""What the folders of models look like from outside: whether what is served still follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from serving.repository import Candidate, ModelFolder, Served, survey
from serving.signature import Signature, is_whole, signature_of

# Each version that may be served, with the operator's choices and the signature of its files.
Look: TypeAlias = tuple[tuple[Candidate, Signature], ...]


def look_at(model: ModelFolder) -> Look:
    """One model's folder; versions of which a file is missing are not there yet."""
    every = sorted((*model.chosen, *model.others), key=lambda candidate: candidate.version)
    return tuple((candidate, signature_of(candidate.folder)) for candidate in every if is_whole(candidate.folder))


def look_at_all(folders: tuple[Path, ...], served: Served) -> dict[str, Look]:
    """Each model's folder by name; raises StartError as ``survey`` does."""
    return {model.name: look_at(model) for model in survey(folders, served=served)}
