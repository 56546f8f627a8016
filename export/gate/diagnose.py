"""What explains a miss: each known fault is tried out on the graph, and the ones that hold are named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from export.gate.compare import Expected, answer, compare_case, decode
from export.gate.permutation import column_order
from export.gate.rounding import COARSER, LARGEST
from pipelines.activations import sigmoid, softmax
from pipelines.errors import ModelOutputError, ModelRunError
from pipelines.grid import Case, CaseInput, case_input
from pipelines.manifest import RawTolerance
from pipelines.raw_agreement import compare_raw
from pipelines.session import CPU, Session
from pipelines.types import AnyArray

if TYPE_CHECKING:
    import onnx

    from export.gate.report import CaseResult
    from export.gate.run import Candidate, Plan, Reference

# Of torch's own rounding in that case: two float32 runs, each that far from the truth at least, over other kernels.
MARGINAL = 16.0
# A dropout of a few values leaves the same ones out twice now and then: of four values once in sixteen.
_REPEATS = 16
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


@dataclass(frozen=True, eq=False)
class Scene:
    """A miss: what was found in its case, and both sides of it."""

    reference: Reference
    candidate: Candidate
    plan: Plan
    session: Session
    missed: CaseResult

    @property
    def case(self) -> Case:
        """The one that was missed."""
        return self.missed.case

    @property
    def tolerance(self) -> RawTolerance:
        """Of raw outputs."""
        return self.candidate.manifest.golden.tolerance.raw[CPU]

    def truth(self, case: Case) -> dict[str, AnyArray]:
        """What torch answers for a case."""
        return answer(self.reference.session, case_input(self.reference.manifest, self.plan.images, case))

    def given(self, case: Case) -> CaseInput:
        """The rows of a case as the package makes them."""
        return case_input(self.candidate.manifest, self.plan.images, case)

    def run(self, batch: AnyArray) -> dict[str, AnyArray] | None:
        """What the graph answers for rows, or ``None`` where it does not run."""
        try:
            return self.session.run({self.session.inputs[0].name: batch})
        except ModelRunError:
            return None

    def holds(self, expected: Mapping[str, AnyArray], got: Mapping[str, AnyArray] | None) -> bool:
        """Whether raw outputs that both sides have agree; with none of them, nothing does."""
        if got is None:
            return False
        shared = {name: value for name, value in expected.items() if name in got}
        return bool(shared) and compare_raw(shared, got, self.tolerance).problem is None

    def passes(self, case: Case) -> bool:
        """Whether a case agrees, decoded results included."""
        given = case_input(self.reference.manifest, self.plan.images, case)
        try:
            outputs = answer(self.reference.session, given)
            expected = Expected(given, outputs, decode(given, outputs, self.plan.options))
        except (ModelRunError, ModelOutputError):
            return False
        result = compare_case(
            case,
            self.plan.runtimes[0],
            expected=expected,
            session=self.session,
            given=self.given(case),
            options=self.plan.options,
            raw=self.tolerance,
            tolerance=self.candidate.manifest.golden.tolerance,
        )
        return result.problem is None


def diagnose(
    reference: Reference, candidate: Candidate, plan: Plan, *, session: Session, missed: CaseResult
) -> tuple[str, ...]:
    """Names of what explains a miss; empty where nothing known does.

    A float32 miss within torch's own rounding is no fault, and nothing else is tried: other cases agree or not by
    chance. float16 is so much coarser that a fault could hide in it, so that there faults come first.
    """
    scene = Scene(reference, candidate, plan, session, missed)
    if candidate.precision != "fp32":
        return _explanations(scene, FAULTS) or _explanations(scene, [_rounding])
    return _explanations(scene, [_rounding]) or _explanations(scene, FAULTS)


def _explanations(scene: Scene, attempts: Sequence[Callable[[Scene], str | None]]) -> tuple[str, ...]:
    found = []
    for try_out in attempts:
        with contextlib.suppress(ModelRunError):  # what torch itself does not run explains nothing
            found.append(try_out(scene))
    return tuple(text for text in found if text is not None)


def _rounding(scene: Scene) -> str | None:
    """Whether each output is within a small multiple of what float32 rounding does to torch's own answer."""
    truth, got = scene.truth(scene.case), scene.run(scene.given(scene.case).batch)
    own = _own_rounding(scene, truth)
    shared = [name for name in truth if name in (got or {})]
    if got is None or not shared or any(truth[name].shape != got[name].shape for name in shared):
        return None
    apart = {name: _apart(truth[name], got[name]) for name in shared}
    several = MARGINAL * COARSER[scene.candidate.precision]
    if any(own[name] > LARGEST["fp32"] or apart[name] > several * own[name] for name in shared):
        return None
    worst = max(shared, key=lambda name: apart[name])
    return (
        f"{scene.candidate.precision} rounding, no fault of the graph: output {worst!r} is {apart[worst]:.1e} apart, "
        f"torch itself {own[worst]:.1e} from its answer in float64; the tolerance is too tight for these weights"
    )


def _near_ties(scene: Scene) -> str | None:
    """Whether torch in float64 answers something else than in float32: not other digits, other choices."""
    own = _own_rounding(scene, scene.truth(scene.case))
    for name, apart in own.items():
        if apart > LARGEST["fp32"]:
            return f"the model decides by near-ties: its output {name!r} is {apart:.1e} apart from itself in float64"
    return None


def _own_rounding(scene: Scene, truth: Mapping[str, AnyArray]) -> dict[str, float]:
    """Largest difference of each output from the module in float64; infinite where that has another shape."""
    given = case_input(scene.reference.manifest, scene.plan.images, scene.case)
    with contextlib.closing(scene.reference.exact()) as session:
        exact = answer(session, replace(given, batch=given.batch.astype(np.float64)))
    alike = {name: value.shape == exact[name].shape for name, value in truth.items()}
    return {name: _apart(truth[name], exact[name]) if alike[name] else np.inf for name in truth}


def _apart(one: AnyArray, other: AnyArray) -> float:
    """Largest difference; infinite where one is not finite."""
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return float(np.where(np.isfinite(difference), difference, np.inf).max(initial=0.0))


def _differs(scene: Scene, first: Mapping[str, AnyArray], again: Mapping[str, AnyArray] | None) -> bool:
    return again is not None and compare_raw(first, again, scene.tolerance).problem is not None


def _random(scene: Scene) -> str | None:
    given = scene.given(scene.case)
    first, nodes = scene.run(given.batch), _nodes(scene, _is_random)
    repeats = range(_REPEATS if nodes else 1)
    if first is None or not any(_differs(scene, first, scene.run(given.batch)) for _ in repeats):
        return None
    return f"the graph answers the same rows differently: a dropout is left on{nodes}"


def _batch_statistics(scene: Scene) -> str | None:
    training = _nodes(scene, _is_training_norm)
    given = scene.given(replace(scene.case, batch=2))
    together, alone = scene.run(given.batch), scene.run(given.batch[:1])
    again = scene.run(given.batch)
    steady = together and again and compare_raw(together, again, scene.tolerance).problem is None
    mixed = steady and alone and together and not scene.holds(alone, {name: v[:1] for name, v in together.items()})
    if not training and not mixed:
        return None
    return f"rows of a batch change each other: batch-norm is in train mode{training}"


def _batch_constant(scene: Scene) -> str | None:
    if isinstance(scene.candidate.manifest.inputs[0].shape[0], int):
        return None  # by design, and said in the manifest
    if not _nodes(scene, _is_nms) and _raw_agrees(scene):
        return None  # what the host decodes knows no batch
    sizes = [1, 2, 3, 4]
    good = [batch for batch in sizes if scene.passes(replace(scene.case, batch=batch))]
    if not good or len(good) == len(sizes):
        return None
    return f"a batch size is a constant of the graph: it agrees at batch {_listed(good)} of {_listed(sizes)} alone"


def _size_constant(scene: Scene) -> str | None:
    if not _nodes(scene, _is_nms) and _raw_agrees(scene):
        return None  # what the host decodes has no size of its own
    sizes = list(dict.fromkeys(case.size_hw for case in scene.plan.cases))
    good = [size for size in sizes if scene.passes(replace(scene.case, size_hw=size))]
    if not good or len(good) == len(sizes):
        return None
    what = "the NMS of the graph works at the traced size" if _nodes(scene, _is_nms) else "a size is a constant of it"
    return f"{what}: it agrees at {_listed([_size(size) for size in good])} alone"


def _raw_agrees(scene: Scene) -> bool:
    return scene.holds(scene.truth(scene.case), scene.run(scene.given(scene.case).batch))


def _channel_order(scene: Scene) -> str | None:
    given = scene.given(scene.case)
    axis = 1 if scene.candidate.manifest.image.layout == "chw" else 3
    if given.batch.shape[axis] != 3:
        return None
    turned = scene.run(np.ascontiguousarray(np.flip(given.batch, axis)))
    return (
        "the colour channels are in the wrong order: with them turned around it agrees"
        if (scene.holds(scene.truth(scene.case), turned))
        else None
    )


def _activation(scene: Scene) -> str | None:
    truth, got = scene.truth(scene.case), scene.run(scene.given(scene.case).batch)
    for name in truth.keys() & (got or {}).keys():
        assert got is not None
        if truth[name].shape != got[name].shape or truth[name].dtype != np.float32:
            continue
        for label, function in _ACTIVATIONS.items():
            with np.errstate(all="ignore"):
                missing = scene.holds({name: truth[name]}, {name: function(got[name])})
                doubled = scene.holds({name: function(truth[name])}, {name: got[name]})
            if missing or doubled:
                return f"a {label} is {'missing' if missing else 'one too many'} at the end of output {name!r}"
    return None


def _class_order(scene: Scene) -> str | None:
    truth, got = scene.truth(scene.case), scene.run(scene.given(scene.case).batch)
    for name in truth.keys() & (got or {}).keys():
        assert got is not None
        for axis in range(1, truth[name].ndim):
            order = column_order(truth[name], got[name], axis=axis, tolerance=scene.tolerance)
            if order is not None:
                moved = np.flatnonzero(order != np.arange(len(order)))
                pairs = ", ".join(f"{i} holds {order[i]}" for i in moved[:4].tolist())
                return f"classes are swapped in output {name!r}, axis {axis}: {pairs}"
    return None


_ACTIVATIONS: Mapping[str, Callable[[AnyArray], AnyArray]] = {
    "sigmoid": sigmoid,
    "softmax": lambda values: softmax(values, axis=1),
}
FAULTS: tuple[Callable[[Scene], str | None], ...] = (
    _random,
    _batch_statistics,
    _batch_constant,
    _size_constant,
    _channel_order,
    _activation,
    _class_order,
    _near_ties,
)


def _nodes(scene: Scene, matches: Callable[[onnx.NodeProto], bool]) -> str:
    """How many nodes of the graph match, and the first, in words; empty where none does."""
    import onnx

    found = [node for node in onnx.load_from_string(scene.candidate.graph).graph.node if matches(node)]
    return (
        f" ({len(found)} nodes, the first {found[0].op_type} {found[0].name or found[0].output[0]!r})" if found else ""
    )


def _is_random(node: onnx.NodeProto) -> bool:
    return node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.input) > 2)


def _is_training_norm(node: onnx.NodeProto) -> bool:
    return node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute)


def _is_nms(node: onnx.NodeProto) -> bool:
    return node.op_type == "NonMaxSuppression"


def _size(size: tuple[int, int] | None) -> str:
    return "its own size" if size is None else f"{size[0]}x{size[1]}"


def _listed(values: list[int] | list[str]) -> str:
    return ", ".join(map(str, values))
