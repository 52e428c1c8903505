"""Flags in --policy-args that this server doesn't honour end the start with a sentence."""

import pytest

from server.errors import StartupError
from server.vllm_engine.operator_flags import STRUCTURED_OUTPUTS, check_operator_flags, operator_flag_names


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "--gpu-memory-utilization 0.5 --max-num-seqs 16",
        "--enable-auto-tool-choice --tool-call-parser hermes",
        "--tensor-parallel-size 2 --quantization awq --no-enable-prefix-caching",
        "--chat-template /tmp/x.jinja --enforce-eager",
        """--hf-overrides '{"a": 1}' --max_num_queued_reqs 8""",
    ],
)
def test_flags_of_the_engine_and_the_chat_handler_pass(extra):
    check_operator_flags("policy", extra, {})


@pytest.mark.parametrize(
    ("extra", "flag"),
    [
        ("--api-key SECRET", "--api-key"),
        ("--api_key SECRET", "--api-key"),
        ("--ssl-keyfile k.pem --ssl-certfile c.pem", "--ssl-"),
        ("--host 0.0.0.0", "--host"),
        ("--port 9000", "--port"),
        ("--uds /tmp/socket", "--uds"),
        ("--served-model-name other", "--served-model-name"),
        ("--model other", "--model"),
        ("--tokenizer-mode hf", "--tokenizer-mode"),
        ("""--allowed-origins '["*"]'""", "--allowed-origins"),
        ("--middleware a.b", "--middleware"),
        ("--root-path /x", "--root-path"),
        ("--sse-keep-alive-interval 3", "--sse-keep-alive-interval"),
        ("--enable-request-id-headers", "--enable-request-id-headers"),
        ("--api-server-count 4", "--api-server-count"),
        ("--max-num-seqs 4 --api-key SECRET", "--api-key"),
    ],
)
def test_flags_without_effect_are_refused(extra, flag):
    with pytest.raises(StartupError, match=f"--critic-args: {flag}") as refused:
        check_operator_flags("critic", extra, {})
    assert "SECRET" not in str(refused.value)


def test_a_key_in_the_environment_is_refused():
    with pytest.raises(StartupError, match="VLLM_API_KEY is set"):
        check_operator_flags("policy", "", {"VLLM_API_KEY": "SECRET"})
    check_operator_flags("policy", "", {"VLLM_API_KEY": ""})


def test_what_is_no_flag_is_refused():
    with pytest.raises(StartupError, match="not flags of vLLM"):
        check_operator_flags("policy", "--no-such-flag 3", {})


@pytest.mark.parametrize(
    ("extra", "decides"),
    [
        ("", False),
        ("--reasoning-parser qwen3", False),
        ("""--structured-outputs-config '{"backend": "auto"}'""", True),
        ("--structured-outputs-config.disable_any_whitespace=False", True),
    ],
)
def test_whether_the_operator_decides_about_structured_outputs(extra, decides):
    assert (STRUCTURED_OUTPUTS in operator_flag_names("policy", extra)) is decides
