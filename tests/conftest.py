"""What every test runs under."""

from hypothesis import settings

# A busy machine pauses a test anywhere: the time that one example takes says nothing about the code.
settings.register_profile("ocella", deadline=None)
settings.load_profile("ocella")
