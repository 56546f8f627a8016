"""Who a gRPC call is from: the name of its token where it has one, else its connection."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

# Of the call that the running task serves: gRPC looks for a call's handler in the task that then runs it.
_name: ContextVar[str] = ContextVar("name of the caller's token", default="")


def know_caller(name: str) -> None:
    """Remember for the running task who it serves."""
    _name.set(name)


def caller_name() -> str:
    """The name of the token of whom the running task serves; empty without one."""
    return _name.get()


def client_of(context: Any) -> str:
    """Who asks: any text that two clients never share."""
    return _name.get() or str(context.peer())
