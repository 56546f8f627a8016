"""``ocella doctor``: what this environment is, and what to fix before it serves."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.doctor.facts import Facts
    from serving.doctor.rules import Finding


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say what this environment is, and what to fix before it serves; exit with 1 where something must be fixed.

    Example: ocella doctor
    """
    from serving.doctor.read import read_facts
    from serving.doctor.report import must_fix, to_json, to_text
    from serving.doctor.rules import findings

    facts = read_facts()
    found = findings(facts)
    if as_json:
        print(json.dumps(to_json(facts, found), indent=2))
    elif sys.stdout.isatty():
        _show(facts, found)
    else:
        print(to_text(facts, found))
    if must_fix(found):
        raise typer.Exit(1)


def _show(facts: Facts, found: Sequence[Finding]) -> None:
    """The same on a terminal, as a table and in colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from serving.doctor.report import finding_lines, rows

    table = Table(show_header=False)
    for name, value in rows(facts).items():
        table.add_row(Text(name, style="bold"), Text(value))
    console = Console()
    console.print(table)
    styles = {"fix: ": "bold red", "note:": "yellow"}
    for line in finding_lines(found):
        console.print(Text(line, style=styles.get(line[:5], "")))
