import re

from serving.deploy import Batching
from serving.security.roles import Role
from serving.settings import Settings
from tests.serving.security import (
    test_certificates_on_the_wire,
    test_http_limits_on_the_wire,
    test_limits_on_the_wire,
    test_tokens_on_the_wire,
)
from tests.serving.security.matrix import PAGE, documented


def test_every_fault_of_the_page_is_tried_and_no_other():
    tried = [
        *test_certificates_on_the_wire.FAULTS,
        *test_tokens_on_the_wire.FAULTS,
        *test_limits_on_the_wire.FAULTS,
        *test_http_limits_on_the_wire.FAULTS,
    ]
    assert list(documented()) == tried


def test_every_limit_that_can_be_set_has_a_fault():
    named = set(re.findall(r"`([\w-]+)`", "\n".join(documented())))
    settings = {name for name in Settings.model_fields if name.startswith("max_")}
    queues = {name for name in Batching.model_fields if name.startswith("max_queue")}
    assert {name.removeprefix("OCELLA_").removeprefix("--").replace("-", "_").lower() for name in named} >= settings
    assert named >= queues


def test_the_page_names_the_defaults_of_the_limits():
    rows = re.findall(
        r"^\| `(?:OCELLA_|--)(max[\w-]+)` \| (\S+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.I
    )
    limits = {name: field.default for name, field in Settings.model_fields.items() if name.startswith("max_")}
    assert {name.lower().replace("-", "_"): default for name, default in rows} == {
        name: "no" if default is None else f"{default:.12g}" for name, default in limits.items()
    }


def test_the_page_names_every_role():
    assert set(re.findall(r"^\| `(\w+)` \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) >= set(Role)
