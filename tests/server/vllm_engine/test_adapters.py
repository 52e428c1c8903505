"""The flags for LoRA adapters, and folders that hold none."""

import json
from pathlib import Path
from typing import Any

import pytest
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.errors import StartupError
from server.vllm_engine.adapters import adapter_flags


def adapter(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, **config}))
    return folder


def test_vllm_reads_the_flags(tmp_path: Path):
    """The rank is the smallest that vLLM knows and that fits all."""
    folders = {"a": adapter(tmp_path / "a"), "b": adapter(tmp_path / "b", r=20)}
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(adapter_flags(folders, cpu=False))
    assert args.enable_lora and args.max_loras == 2 and args.max_lora_rank == 32
    assert [(module.name, module.path) for module in args.lora_modules] == [
        (name, str(folder)) for name, folder in folders.items()
    ]
    assert "--max-loras 3" in " ".join(adapter_flags(folders, cpu=True)), "a CPU needs one slot more"
    assert adapter_flags({}, cpu=True) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "describes no LoRA adapter"),
        ({"r": "8"}, "describes no LoRA adapter"),
        ({"r": 4096}, "an adapter has the rank 4096, and vLLM allows 512 at most"),
    ],
)
def test_what_is_no_adapter_is_one_line(config: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(StartupError, match=message):
        adapter_flags({"a": adapter(tmp_path / "a", **config)}, cpu=True)


def test_a_folder_without_an_adapter_is_one_line(tmp_path: Path):
    with pytest.raises(StartupError, match=r"holds no adapter_config\.json: No such file"):
        adapter_flags({"a": tmp_path}, cpu=True)
