"""The profile that makes property tests pass or fail in the same way everywhere."""

from hypothesis import HealthCheck, settings

# Every run has the same examples, and no example has a time limit, because a busy machine must not fail a
# test.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
