"""Property tests that pass or fail the same everywhere."""

from hypothesis import settings

# Same examples on every run, and no limit on an example's time: a busy machine must not fail a test.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
