"""A proposal and what the user gave, as one set of flags; and flags as the words of a command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from export.doctor.proposal import Flags, Proposal
from export.import_flags import FIT_DEFAULTS, variant_fields

_SCALES = ("stats", "scale", "mean", "std")
_OVERLAPS = ("nms", "suppression", "iou_threshold", "sigma", "class_agnostic", "nms_candidates")
_CHOICES = ("task", "decoder", "output", "activation")
# Where none of a group is given, the proposal's stand; where one is, all of the proposal's go.
_TOGETHER = (_SCALES, _OVERLAPS)


def given_names(given: Flags) -> frozenset[str]:
    """Names of the flags that the user gave, each field of a decoder as ``decoder_field:NAME``."""
    fields = [f"decoder_field:{text.partition('=')[0]}" for text in given.get("decoder_field") or ()]
    return frozenset([*(key for key, value in given.items() if not _absent(key, value)), *fields])


def contradiction(proposal: Proposal, given: Flags) -> str | None:
    """Why a proposal is no answer to what the user gave, or ``None``."""
    for key in _CHOICES:
        wanted, has = given.get(key), proposal.head.get(key)
        if wanted is not None and has != wanted:
            return f"--{key} {wanted} was given" + (f", it has {has}" if has is not None else "")
    return None


def merged(proposal: Proposal, given: Flags) -> dict[str, Any]:
    """Flags for ``recipe_from``: what was given comes first, the proposal fills the rest."""
    proposed = {**proposal.feed, **proposal.head}
    for group in _TOGETHER:
        if any(given.get(key) is not None for key in group):
            proposed = {key: value for key, value in proposed.items() if key not in group}
    fit = given.get("fit")
    if fit is not None and fit in FIT_DEFAULTS and fit != proposed.get("fit"):
        own = {"size" if name == "size_hw" else name for name in variant_fields("fit", fit)}
        every = {"size" if name == "size_hw" else name for kind in FIT_DEFAULTS for name in variant_fields("fit", kind)}
        proposed = {key: value for key, value in proposed.items() if key not in every or key in own}
    fields = dict(proposed.pop("decoder_field", {}))
    texts = given.get("decoder_field") or []
    spelled = [f"{key}={_json(value)}" for key, value in fields.items()]
    kept = {key: value for key, value in given.items() if not _absent(key, value)}
    everything = {**given, **proposed, **kept}
    if proposal.head.get("decoder"):
        everything["decoder_field"] = [*spelled, *texts]  # of a field that is given twice the last one counts.
    return everything


def _absent(key: str, value: Any) -> bool:
    """Whether a flag was not given; ``--no-nms`` is a flag that was, a switch that is off is none."""
    return value is None or value == [] or (key == "dynamic_batch" and value is False)


def words(flags: Flags) -> list[str]:
    """The words of a command line that give these flags."""
    found = []
    for key, value in flags.items():
        name = "--" + key.removesuffix("_").replace("_", "-")
        if isinstance(value, Mapping):
            for field, part in value.items():
                found += [name, f"{field}={_json(part)}"]
        elif isinstance(value, list | tuple):
            for part in value:
                found += [name, str(part)]
        elif isinstance(value, bool):
            found.append(name if value else name.replace("--", "--no-", 1))
        else:
            found += [name, str(value)]
    return found


def command_line(proposal: Proposal) -> str:
    """The flags of a proposal as they can be pasted into a shell."""
    return shlex.join(words({**proposal.head, **proposal.feed}))


def _json(value: Any) -> str:
    """A value as ``--decoder-field`` takes it: text as it is, unless it would be read as something else."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, separators=(",", ":"))
