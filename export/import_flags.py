"""From command-line flags to a recipe: what is missing, unknown or without effect is named by its flag."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, get_args

from pydantic import TypeAdapter, ValidationError

from export.flag_values import (
    FlagError,
    labels_from,
    metrics_from,
    name_from,
    numbers_from,
    parts_from,
    size_from,
    skeleton_from,
)
from export.importer import GoldenChoice, ImportRecipe, pixel_input
from pipelines.errors import RecipeError
from pipelines.manifest import first_problem
from pipelines.specs import Decoder, Fit, Head, ImageSpec, Resample, Spec, Suppression, TensorSpec
from pipelines.statistics import statistics_for

Flags: TypeAlias = Mapping[str, Any]

# What a flag means where it is not given; a field that is not here must be given.
FIT_DEFAULTS: Mapping[str, Flags] = {
    "stretch": {},
    "stretch_to_multiple": {"rounding": "nearest", "min_shorter": None, "max_longer": None},
    "letterbox": {
        "size_rounding": "nearest",
        "pad_value": 114,
        "pad_position": "center",
        "pad_rounding": "floor",
        "scale_up": True,
    },
    "center_crop": {"size_rounding": "floor", "offset_rounding": "nearest"},  # torchvision's.
    "pad": {"pad_value": 0, "max_longer": None},
    "none": {},
}
HEAD_DEFAULTS: Mapping[str, Flags] = {
    "classification": {"temperature": 1.0, "score_threshold": None, "top_k": 5},
    "detection": {"max_detections": 300, "skeleton": ()},
    "segmentation": {
        "threshold": 0.5,
        "mask_resample": "opencv_linear",
        "resized": "probabilities",
        "class_thresholds": (),
    },
    "embedding": {"normalize": True},
}
NMS_DEFAULTS: Flags = {"class_agnostic": False, "candidates": 1000}
_NMS_FLAGS = ("suppression", "iou_threshold", "sigma", *NMS_DEFAULTS)
_DETECTION_FLAGS = ("decoder", "decoder_field", "nms", *_NMS_FLAGS)
_COLORS = ("rgb", "bgr", "gray")
IMAGE_DEFAULTS: Flags = {"color": "rgb", "exif": "apply", "alpha": "white", "layout": "chw"}
_GOLDEN_FLAGS = ("score", "box_iou", "point_px", "mask_iou", "cosine", "rtol", "atol")
_FLAG_NAMES = {
    "size_hw": "size",
    "candidates": "nms-candidates",
    "dim": "embedding-dim",
    "class_thresholds": "class-threshold",
}


def recipe_from(flags: Flags, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> ImportRecipe:
    """Everything that ``ocella import`` was told about a graph of these tensors.

    ``flags`` are by the parameter names of the command. Raises FlagError, or GraphMismatchError for an unusable graph.
    """
    _require_text({**flags, "source": flags["source"] or flags["model"].name})
    found = pixel_input(inputs)
    named = {
        **flags,
        "size_hw": None if flags["size"] is None else size_from(flags["size"]),
        "candidates": flags["nms_candidates"],
        "dim": flags["embedding_dim"],
        "skeleton": None if flags["skeleton"] is None else skeleton_from(flags["skeleton"]),
        "class_thresholds": flags.get("class_threshold") or None,
    }
    return ImportRecipe(
        name=name_from(flags["name"], flags["model"]),
        version=flags["model_version"],
        description=flags["description"],
        license=flags["license_"],
        source=flags["source"] or flags["model"].name,
        image=image_from(named, dtype=found.dtype),
        head=head_from(named, outputs=[spec.name for spec in outputs]),
        labels=labels_from(flags["labels"], flags["label"] or ()),
        metrics=metrics_from(flags["metric"] or ()),
        dynamic_batch=flags["dynamic_batch"],
        join=parts_from(flags.get("join")),
        golden=golden_from(flags),
    )


def require_known(flags: Flags) -> None:
    """Raise FlagError for a word that a flag has in no recipe, before anybody looks for a reading that has it."""
    known = {
        "task": _variants(Head),
        "decoder": _variants(Decoder),
        "fit": _variants(Fit),
        "resample": get_args(Resample),
        "color": _COLORS,
    }
    for name, words in known.items():
        if (word := flags.get(name)) is not None and word not in words:
            raise FlagError(f"--{name} must be one of {', '.join(sorted(words))}, got {word}")


def image_from(flags: Flags, *, dtype: str) -> ImageSpec:
    """The image part; ``dtype`` is the graph's own."""
    flags = {**flags, **{key: IMAGE_DEFAULTS[key] for key in IMAGE_DEFAULTS if flags[key] is None}}
    color = flags["color"]
    if color not in _COLORS:
        raise FlagError(f"--color must be one of {', '.join(_COLORS)}, got {color}")
    scale, mean, std = _normalisation(flags, color)
    fit = _variant("fit", flags["fit"], _variants(Fit), flags, FIT_DEFAULTS)
    if fit.get("pad_position") == "top_left" and flags.get("pad_rounding") is None:
        fit["pad_rounding"] = None  # no padding before the image, so nothing to round.
    raw = {
        "fit": fit,
        **{key: flags[key] for key in ("resample", "color", "exif", "alpha", "layout")},
        "dtype": dtype,
        "scale": scale,
        "mean": mean,
        "std": std,
        "in_graph": ["normalize"] if dtype == "uint8" else [],
    }
    return _validate(ImageSpec, raw, "image")


def head_from(flags: Flags, *, outputs: Sequence[str]) -> Head:
    """The head part; a graph with one output needs no ``--output``."""
    task = flags["task"]
    if task == "detection":
        parts = {"decoder": _decoder(flags), "nms": _nms(flags)}
        given = flags
    else:
        for key in _DETECTION_FLAGS:
            if flags[key] not in (None, []):
                raise FlagError(f"--{_flag(key)} has no effect with --task {task}")
        parts = {}
        given = {**flags, "output": flags["output"] or (outputs[0] if len(outputs) == 1 else None)}
    raw = _variant("task", task, _variants(Head), given, HEAD_DEFAULTS)
    head: Head = _validate(Head, {**raw, **parts}, "head")
    return head


def golden_from(flags: Flags) -> GoldenChoice:
    """``--golden-score`` and its like; one that is given needs ``--golden-reason``."""
    given = {key: flags.get(f"golden_{key}") for key in _GOLDEN_FLAGS}
    named = [f"--golden-{key.replace('_', '-')}" for key, value in given.items() if value is not None]
    reason = flags.get("golden_reason")
    if named and not reason:
        raise FlagError(f"{named[0]} needs --golden-reason: a tolerance is explained in the manifest")
    if reason and not named:
        raise FlagError("--golden-reason has no effect without a tolerance, as --golden-score")
    return GoldenChoice(**{key: value for key, value in given.items() if value is not None}, reason=reason)


def variant_fields(tag: str, chosen: str) -> tuple[str, ...]:
    """Names of the fields of one variant of ``fit`` or ``task``, without the tag."""
    fields = _variants(Fit if tag == "fit" else Head)[chosen].model_fields
    return tuple(name for name in fields if name not in ("kind", "task"))


def _require_text(flags: Flags) -> None:
    """Raise FlagError for bytes of the command line that are no UTF-8: a manifest could not hold them."""
    for key, value in flags.items():
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and not text.isascii() and re.search("[\ud800-\udfff]", text):
                raise FlagError(f"--{_flag(key.rstrip('_'))} must be text in UTF-8, got {text!r}")


def _normalisation(flags: Flags, color: Any) -> tuple[Any, tuple[float, ...], tuple[float, ...]]:
    named, own = flags["stats"], {key: flags[key] for key in ("scale", "mean", "std")}
    given = [f"--{key}" for key, value in own.items() if value is not None]
    if named is not None:
        if given:
            raise FlagError(f"--stats and {given[0]} exclude each other")
        try:
            return statistics_for(named, color)
        except RecipeError as error:
            raise FlagError(f"--stats: {error}") from error
    if len(given) < len(own):
        missing = [f"--{key}" for key, value in own.items() if value is None]
        raise FlagError(
            f"say how pixels become numbers: --stats, or all of --scale, --mean, --std ({missing[0]} is missing)"
        )
    scale = own["scale"] if own["scale"] == "image_max" else numbers_from("--scale", own["scale"])[0]
    return scale, numbers_from("--mean", own["mean"]), numbers_from("--std", own["std"])


def _decoder(flags: Flags) -> dict[str, Any]:
    known = _variants(Decoder)
    kind = flags["decoder"]
    if kind not in known:
        raise FlagError(f"--decoder must be one of {', '.join(sorted(known))}, got {kind or 'none'}")
    raw: dict[str, Any] = {"kind": kind}
    for text in flags["decoder_field"] or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise FlagError(f"--decoder-field must be FIELD=VALUE, got {text!r}")
        try:
            raw[key] = json.loads(value)
        except ValueError:
            raw[key] = value  # plain text: an output's name.
    fields = known[kind].model_fields
    unknown, missing = sorted(raw.keys() - fields), sorted(fields.keys() - raw.keys())
    if unknown or missing:
        problem = f"has no field {unknown[0]!r}" if unknown else f"needs {', '.join(missing)}"
        raise FlagError(f"--decoder {kind} {problem}: give each of its fields as --decoder-field FIELD=VALUE")
    _validate(Decoder, raw, "--decoder-field")
    return raw


def _nms(flags: Flags) -> dict[str, Any] | None:
    given = [key for key in _NMS_FLAGS if flags[key] is not None]
    if flags["nms"] is False:
        if given:
            raise FlagError(f"--{_flag(given[0])} has no effect with --no-nms")
        return None
    if not given:
        raise FlagError("a detection head needs --iou-threshold, or --no-nms")
    known = _variants(Suppression)
    return _variant("suppression", flags["suppression"] or "hard", known, flags, dict.fromkeys(known, NMS_DEFAULTS))


def _variants(union: Any) -> dict[str, type[Spec]]:
    """The members of a tagged union by their tag."""
    members: tuple[type[Spec], ...] = get_args(get_args(union)[0])
    return {get_args(_tag(member))[0]: member for member in members}


def _tag(member: type[Spec]) -> Any:
    fields = member.model_fields
    return fields["kind" if "kind" in fields else "task"].annotation


def _variant(
    tag: str, chosen: str, known: Mapping[str, type[Spec]], flags: Flags, defaults: Mapping[str, Flags]
) -> dict[str, Any]:
    """Fields of the chosen variant from flags and defaults; a flag of another variant is refused, never ignored."""
    if chosen not in known:
        raise FlagError(f"--{tag} must be one of {', '.join(sorted(known))}, got {chosen}")
    key = "kind" if "kind" in known[chosen].model_fields else "task"
    own = [name for name in known[chosen].model_fields if name != key and name not in ("decoder", "nms")]
    others = {name for member in known.values() for name in member.model_fields} - {*own, key, "decoder", "nms"}
    for name in sorted(others):
        if flags.get(name) is not None:
            raise FlagError(f"--{_flag(name)} has no effect with --{tag} {chosen}")
    raw = {key: chosen}
    for name in own:
        value = flags.get(name)
        if value is None and name not in defaults[chosen]:
            raise FlagError(f"--{tag} {chosen} needs --{_flag(name)}")
        raw[name] = defaults[chosen][name] if value is None else value
    return raw


def _flag(field: str) -> str:
    return _FLAG_NAMES.get(field, field.replace("_", "-"))


def _validate(kind: Any, raw: Mapping[str, Any], where: str) -> Any:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(raw))
    except ValidationError as error:
        raise FlagError(f"{where}.{first_problem(error, dict(raw))}") from error
