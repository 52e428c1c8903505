"""An engine whose renderer can't keep clients' texts apart from special tokens doesn't serve."""

import pytest

from server.errors import StartupError
from server.vllm_engine.engine_flags import EngineRole
from server.vllm_engine.text_rules import set_text_rules


def test_a_renderer_that_is_not_ours_is_refused():
    role = EngineRole(title="critic", path="VisualPRM-8B", name="VisualPRM-8B", extra="")
    with pytest.raises(StartupError, match="the critic VisualPRM-8B reads texts of clients by object"):
        set_text_rules(object(), role, trusting=True)
