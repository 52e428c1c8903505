"""Refuse to start with flags of vLLM in --policy-args or --critic-args that would have no effect.

vLLM's parser also knows the flags of vLLM's own HTTP server, which doesn't run here. A silently ignored
`--api-key` would leave a server open that its operator believes to be closed.
"""

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import fields

from vllm import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.errors import StartupError

# Flags of vLLM's chat handler, which answers our requests.
CHAT_FLAGS = frozenset(
    (
        "chat_template",
        "chat_template_content_format",
        "trust_request_chat_template",
        "default_chat_template_kwargs",
        "return_tokens_as_token_ids",
        "enable_auto_tool_choice",
        "exclude_tools_when_tool_choice_none",
        "tool_call_parser",
        "tool_parser_plugin",
        "tool_strict_level",
        "enable_force_include_usage",
        "enable_log_outputs",
        "enable_log_deltas",
        "max_log_len",
    )
)
STRUCTURED_OUTPUTS = "structured_outputs_config"  # with it the operator decides about white space in JSON
INSTEAD = {
    "model": "use --policy or --critic",
    "served_model_name": "use --name",
    "tokenizer_mode": "the server sets the mode in which texts of clients are text",
    "host": "use --host",
    "port": "use --port",
    "api_key": "use --api-key or --api-keys of internvl3 serve",
    "lora_modules": "use --adapters",
    "ssl_keyfile": "this server speaks plain HTTP; put a proxy in front of it that ends TLS",
    "ssl_certfile": "this server speaks plain HTTP; put a proxy in front of it that ends TLS",
}


def check_operator_flags(title: str, extra: str, environ: Mapping[str, str]) -> None:
    """Raise StartupError for a flag that this server does not honour.

    Args:
        title: "policy" or "critic".
        extra: the flags, in one string.
        environ: the environment; vLLM's server would take a key from it.
    """
    if environ.get("VLLM_API_KEY"):
        raise StartupError("VLLM_API_KEY is set, but this server reads INTERNVL3_API_KEY: rename it")
    honoured = (CHAT_FLAGS | {field.name for field in fields(AsyncEngineArgs)}) - INSTEAD.keys()
    for name in operator_flag_names(title, extra):
        if name not in honoured:
            instead = INSTEAD.get(
                name, "it belongs to vLLM's own HTTP server, which is not used; leave it out"
            )
            raise StartupError(f"--{title}-args: --{name.replace('_', '-')} has no effect here: {instead}")


def operator_flag_names(title: str, extra: str) -> list[str]:
    """Return the names of vLLM's settings that the flags set. Raises StartupError for what is no flag.

    Args:
        title: "policy" or "critic".
        extra: the flags, in one string.
    """
    parser = make_arg_parser(FlexibleArgumentParser())
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args([])), argparse.SUPPRESS))
    try:
        return list(vars(parser.parse_args(shlex.split(extra))))
    except SystemExit:  # argparse has printed what is wrong
        raise StartupError(
            f"--{title}-args: {extra!r} are not flags of vLLM; see vllm serve --help"
        ) from None
