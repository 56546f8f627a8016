"""The table of faults in ``docs/security.md``: what each API answers."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "security.md"
APIS = ("ocella.v1", "OIP", "HTTP")
NOTHING = "none"


def documented() -> dict[str, dict[str, str]]:
    """Answers by fault, then API; what an API does not have is left out."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| fault |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        fault, *answers = (cell.strip() for cell in line.strip().strip("|").split("|"))
        rows[fault] = {api: answer.strip("`") for api, answer in zip(APIS, answers, strict=True) if answer != NOTHING}
    return rows
