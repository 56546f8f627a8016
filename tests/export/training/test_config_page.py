"""The page on training names every key of a config, with its default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.export.training.config_keys import sections

PAGE = Path(__file__).parents[3] / "docs" / "training.md"
EXPECTED = dict(sections())


def shown() -> dict[str, dict[str, str]]:
    reference = PAGE.read_text(encoding="utf-8").partition("## Keys of a config")[2]
    found = {}
    for part in reference.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        found[title] = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \| \S", body, re.MULTILINE))
    return found


def test_the_page_has_a_section_for_each_table_and_kind() -> None:
    assert list(shown()) == list(EXPECTED)


@pytest.mark.parametrize("section", EXPECTED)
def test_a_section_shows_its_keys_with_their_defaults(section: str) -> None:
    assert shown()[section] == EXPECTED[section]
