"""Property tests that pass or fail the same everywhere."""

from hypothesis import HealthCheck, settings

# Same examples on every run, and no limit on the time of examples: a busy machine must not fail a test.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
