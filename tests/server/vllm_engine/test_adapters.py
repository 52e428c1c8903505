"""The flags for LoRA adapters, and folders that hold none."""

import json
from pathlib import Path
from typing import Any

import pytest
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.errors import StartupError
from server.vllm_engine.adapters import AdapterRoom, adapter_flags


def adapter(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, **config}))
    return folder


def test_vllm_reads_the_flags(tmp_path: Path):
    """The rank is the smallest that vLLM knows and that fits all."""
    folders = {"a": adapter(tmp_path / "a"), "b": adapter(tmp_path / "b", r=20)}
    room = AdapterRoom(folders=folders, places=2)
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(adapter_flags(room, cpu=False))
    assert args.enable_lora and args.max_loras == 2 and args.max_lora_rank == 32
    assert [(module.name, module.path) for module in args.lora_modules] == [
        (name, str(folder)) for name, folder in folders.items()
    ]
    assert "--max-loras 3" in " ".join(adapter_flags(room, cpu=True)), "a CPU needs one slot more"
    assert adapter_flags(AdapterRoom(), cpu=True) == []


def test_adapters_that_come_later_have_room(tmp_path: Path):
    later = AdapterRoom(places=4, rank=24)
    assert adapter_flags(later, cpu=True) == ["--enable-lora", "--max-loras", "5", "--max-lora-rank", "32"]
    both = AdapterRoom(folders={"a": adapter(tmp_path / "a", r=20)}, places=4, rank=8)
    assert "--max-loras 4 --max-lora-rank 32" in " ".join(adapter_flags(both, cpu=False))


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
        adapter_flags(AdapterRoom(folders={"a": adapter(tmp_path / "a", **config)}, places=1), cpu=True)


def test_a_folder_without_an_adapter_is_one_line(tmp_path: Path):
    with pytest.raises(StartupError, match=r"holds no adapter_config\.json: No such file"):
        adapter_flags(AdapterRoom(folders={"a": tmp_path}, places=1), cpu=True)
