"""vLLM's configuration of an engine with our model: its length, its stop tokens, and what is refused."""

import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import SamplingParams
from vllm.config import ModelConfig

from model.plugin.engine_config import InternVLEngineConfig
from model.plugin.register import require_plugin
from tests.checkpoints import WINDOW, byte_tokenizer, write_json

NANO = Path(__file__).parents[3] / "model/nano/policy"
END = byte_tokenizer().convert_tokens_to_ids("<|im_end|>")
OTHER = 77


@pytest.fixture(autouse=True)
def plugin():
    require_plugin()


def stop_tokens(checkpoint: Path, **options: Any) -> set[int]:
    """Return the tokens at which vLLM ends an answer, beside the tokenizer's eos."""
    config = ModelConfig(str(checkpoint), dtype="float32", **options)
    for one in (config, pickle.loads(pickle.dumps(config))):
        params = SamplingParams()
        params.update_from_generation_config(one.try_get_generation_config(), eos_token_id=OTHER)
    return set(params.stop_token_ids or ())


def copied(checkpoint: Path, folder: Path, generation: dict[str, Any] | None) -> Path:
    shutil.copytree(checkpoint, folder)
    if generation is None:
        (folder / "generation_config.json").unlink()
    else:
        write_json(folder / "generation_config.json", generation)
    return folder


def test_the_default_length_is_the_trained_window(opengvlab_checkpoint: Path, transformers_checkpoint: Path):
    assert ModelConfig(str(NANO)).max_model_len == 8192
    for checkpoint in (opengvlab_checkpoint, transformers_checkpoint):
        assert ModelConfig(str(checkpoint), dtype="float32").max_model_len == WINDOW


def test_a_longer_context_may_be_asked_for_up_to_a_million_tokens():
    assert ModelConfig(str(NANO), max_model_len=100_000).max_model_len == 100_000
    with pytest.raises(ValueError, match="model_max_length=1048576"):
        ModelConfig(str(NANO), max_model_len=2**20 + 1)


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({"_from_model_config": True, "transformers_version": "4.48.3"}, {END}),  # as InternVL3's
        ({"eos_token_id": 3}, {3, END}),
        ({"eos_token_id": [3, 4]}, {3, 4, END}),
        ({"eos_token_id": END}, {END}),
        (None, {3, END}),  # vLLM then asks config.json
    ],
)
def test_an_answer_ends_at_the_end_of_its_turn(
    layout: str,
    generation: dict[str, Any] | None,
    expected: set[int],
    request: pytest.FixtureRequest,
    tmp_path: Path,
):
    checkpoint = copied(request.getfixturevalue(f"{layout}_checkpoint"), tmp_path / "copy", generation)
    content = json.loads((checkpoint / "config.json").read_text())
    content["llm_config" if layout == "opengvlab" else "text_config"]["eos_token_id"] = 3
    write_json(checkpoint / "config.json", content)
    assert stop_tokens(checkpoint) == expected
    assert stop_tokens(checkpoint, generation_config="vllm") == expected


def test_the_end_of_a_turn_is_that_of_the_engines_tokenizer(opengvlab_checkpoint: Path, tmp_path: Path):
    """`--tokenizer` may name another folder, where the token has another id."""
    write_json(tmp_path / "tokenizer_config.json", {"added_tokens_decoder": {"5": {"content": "<|im_end|>"}}})
    assert stop_tokens(opengvlab_checkpoint, tokenizer=str(tmp_path)) == {5, END}


def test_a_draft_model_is_refused_in_one_line():
    for method in ("draft_model", "eagle3", "medusa", "mtp"):
        config: Any = SimpleNamespace(speculative_config=SimpleNamespace(method=method))
        with pytest.raises(ValueError, match=f"the method '{method}' needs a draft model.*Use the method"):
            InternVLEngineConfig.verify_and_update_config(config)
    for speculation in (None, SimpleNamespace(method="ngram"), SimpleNamespace(method="suffix")):
        InternVLEngineConfig.verify_and_update_config(SimpleNamespace(speculative_config=speculation))
