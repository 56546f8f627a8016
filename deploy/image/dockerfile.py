"""What a Dockerfile says: its stages, their steps, and what the finished image is told."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Words: TypeAlias = tuple[str, ...]
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class DockerfileError(ValueError):
    """The Dockerfile holds what its reader does not know."""


@dataclass(frozen=True)
class Step:
    """One instruction: its name in capitals and the rest of its line, continued lines joined."""

    name: str
    text: str


@dataclass(frozen=True)
class Stage:
    """One ``FROM`` and what follows it.

    Attributes:
        base: image that it starts from, variables put in.
        name: what later stages call it; empty where it has no name.
        steps: in order.
    """

    base: str
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Image:
    """What a container of the image is started with.

    Attributes:
        environment: its variables.
        user: ``uid:gid``.
        command: ``ENTRYPOINT`` and ``CMD`` joined.
        healthcheck: the words of its command.
        stop_signal: such as ``SIGTERM``.
    """

    environment: Mapping[str, str]
    user: str
    command: Words
    healthcheck: Words
    stop_signal: str


def read_steps(text: str) -> list[Step]:
    """All instructions of a file, comments dropped and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", lines)
    pairs = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [Step(name.upper(), rest.strip()) for name, _, rest in pairs]


def read_stages(text: str, arguments: Mapping[str, str] | None = None) -> tuple[Stage, ...]:
    """The stages of a file; ``arguments`` are those of the build, for ``ARG`` before the first ``FROM``."""
    known: dict[str, str] = {}
    stages: list[Stage] = []
    for step in read_steps(text):
        if step.name == "FROM":
            base, *alias = substitute(step.text, known).split()
            stages.append(Stage(base, alias[1] if alias else "", ()))
        elif stages:
            last = stages[-1]
            stages[-1] = Stage(last.base, last.name, (*last.steps, step))
        elif step.name == "ARG":
            known |= declared(step, arguments or {})
        else:
            raise DockerfileError(f"only ARG may stand before the first FROM, got {step.name}")
    return tuple(stages)


def declared(step: Step, arguments: Mapping[str, str]) -> dict[str, str]:
    """The variable that an ``ARG`` declares, with the build's value or its default; none where it has neither."""
    name, given, default = step.text.partition("=")
    if name in arguments:
        return {name: arguments[name]}
    return {name: default} if given else {}


def assigned(step: Step, known: Mapping[str, str]) -> dict[str, str]:
    """The variables that an ``ENV`` or ``LABEL`` sets, in the form ``name=value name="a value"``."""
    pairs = [word.partition("=") for word in shlex.split(step.text)]
    if not all(given for _, given, _ in pairs):
        raise DockerfileError(f"{step.name} must be written as name=value, got {step.text!r}")
    return {name: substitute(value, known) for name, _, value in pairs}


def substitute(text: str, known: Mapping[str, str]) -> str:
    """Put ``known`` variables in; raises DockerfileError for one that is not known."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in known:
            raise DockerfileError(f"variable {name} must be declared before it is used, in {text!r}")
        return known[name]

    return _VARIABLE.sub(value, text)


def image_of(stage: Stage) -> Image:
    """What containers of a stage are started with."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    for step in stage.steps:
        if step.name == "ENV":
            environment |= assigned(step, environment)
    return Image(
        environment,
        user=_last(stage.steps, "USER"),
        command=(*_words(_last(stage.steps, "ENTRYPOINT")), *_words(_last(stage.steps, "CMD"))),
        healthcheck=_words(_last(stage.steps, "HEALTHCHECK")),
        stop_signal=_last(stage.steps, "STOPSIGNAL"),
    )


def _last(steps: Sequence[Step], name: str) -> str:
    found = [step.text for step in steps if step.name == name]
    if not found:
        raise DockerfileError(f"the last stage must say {name}")
    return found[-1]


def _words(text: str) -> Words:
    """The words of a command in exec form, behind whatever options stand before it."""
    return tuple(json.loads(text[text.index("[") :]))
