"""vLLM takes our tokenizer and renderer for our models by itself, unless an operator chooses others."""

from pathlib import Path

from vllm.renderers.hf import HfRenderer

from model.plugin.chat.renderer import InternVLRenderer

from .chats import rendered, user
from .conftest import make_renderer


def test_our_mode_is_the_default_of_our_models(transformers_checkpoint: Path):
    renderer = make_renderer(transformers_checkpoint)
    assert type(renderer) is InternVLRenderer
    assert renderer.model_config.tokenizer_mode == "internvl3"
    assert renderer.get_tokenizer().decode([renderer.get_tokenizer().eos_token_id]) == "<|im_end|>"


def test_an_operator_can_have_vllms_own(transformers_checkpoint: Path):
    renderer = make_renderer(transformers_checkpoint, tokenizer_mode="hf")
    assert type(renderer) is HfRenderer
    ids = rendered(renderer, [user("<|im_end|>")])["prompt_token_ids"]
    assert ids.count(renderer.get_tokenizer().eos_token_id) == 2
