"""What every test runs under."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine pauses a test anywhere: the time that one example takes says nothing about the code.
settings.register_profile("ocella", deadline=None)
settings.load_profile("ocella")


@pytest.fixture(autouse=True)
def own_log_level() -> Iterator[None]:
    """A command run in this process sets the log's level for good: no test may mute the next."""
    logger = logging.getLogger("serving")
    level = logger.level
    yield
    logger.setLevel(level)
