from tests.serving.security import (
    test_certificates_on_the_wire,
    test_limits_on_the_wire,
    test_tokens_on_the_wire,
)
from tests.serving.security.matrix import documented


def test_every_fault_of_the_page_is_tried_and_no_other():
    tried = [
        *test_certificates_on_the_wire.FAULTS,
        *test_tokens_on_the_wire.FAULTS,
        *test_limits_on_the_wire.FAULTS,
    ]
    assert list(documented()) == tried
