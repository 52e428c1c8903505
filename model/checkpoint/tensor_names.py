"""Translate the names of tensors between the layouts of InternVL checkpoints.

OpenGVLab's layout (`InternVLChatModel`) has vision_model.*, mlp1.* and language_model.*, with the vision
tower's q, k and v in one `qkv` tensor. transformers' layout (`InternVLForConditionalGeneration`) has
vision_tower.*, multi_modal_projector.* and language_model.*, with separate q, k and v. The engine's modules
have OpenGVLab's names. In OpenGVLab's layout an InternLM2 language model has names that no other model has.
It is a Llama, and the engine's modules have Llama's names for it (docs/decisions/0009).

Source: OpenGVLab/InternVL `internvl_chat/tools/internvl_custom2hf.py`, transformers'
`convert_internvl_weights_to_hf.py`.
"""

import re
from collections.abc import Iterable

# Fragments of names (transformers, OpenGVLab), anchored by dots. Specific fragments come first, so that no
# general one replaces a part of them.
_VISION_FRAGMENTS = (
    (".embeddings.cls_token", ".embeddings.class_embedding"),
    (".embeddings.position_embeddings", ".embeddings.position_embedding"),
    (".embeddings.patch_embeddings.projection.", ".embeddings.patch_embedding."),
    (".encoder.layer.", ".encoder.layers."),
    (".attention.projection_layer.", ".attn.proj."),
    (".attention.", ".attn."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".lambda_1", ".ls1"),
    (".lambda_2", ".ls2"),
)
_PROJECTOR_FRAGMENTS = ((".layer_norm.", ".0."), (".linear_1.", ".1."), (".linear_2.", ".3."))
# Fragments of names (InternLM2, Llama). `wqkv` keeps its name here; `tensors.split_wqkv` splits that tensor.
_INTERNLM2_FRAGMENTS = (
    ("language_model.model.tok_embeddings.", "language_model.model.embed_tokens."),
    ("language_model.output.", "language_model.lm_head."),
    (".attention.wo.", ".self_attn.o_proj."),
    (".attention.wqkv.", ".self_attn.wqkv."),
    (".feed_forward.w1.", ".mlp.gate_proj."),
    (".feed_forward.w3.", ".mlp.up_proj."),
    (".feed_forward.w2.", ".mlp.down_proj."),
    (".attention_norm.", ".input_layernorm."),
    (".ffn_norm.", ".post_attention_layernorm."),
)
_VISION_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.")


def opengvlab_name(name: str) -> str:
    """Return the name of a tensor in the engine.

    `name` is its name in any layout. For transformers these are the saved names (`vision_tower.*`) and the
    in-memory names since 5.0 (`model.vision_tower.*` and `lm_head.*`). A separate q, k or v of the vision
    tower keeps its `_proj` ending; `tensors.fuse_qkv` joins the three.
    """
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    in_memory = name.startswith("model.")
    name = name.removeprefix("model.")
    if name.startswith("vision_tower."):
        return _rename(name.replace("vision_tower.", "vision_model.", 1), _VISION_FRAGMENTS)
    if name.startswith("multi_modal_projector."):
        return _rename(name.replace("multi_modal_projector.", "mlp1.", 1), _PROJECTOR_FRAGMENTS)
    if in_memory and name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("language_model."):
        return _rename(name, _INTERNLM2_FRAGMENTS)
    return name


def transformers_name(name: str) -> str:
    """Return the name in `InternVLForConditionalGeneration.state_dict()` of a tensor of the engine.

    Raises:
        ValueError: no InternVL checkpoint has a tensor of this name.
    """
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    if name.startswith("language_model.model."):
        return name.replace("language_model.model.", "model.language_model.", 1)
    if name.startswith("vision_model."):
        renamed = _rename(name, _inverse(_VISION_FRAGMENTS))
        return renamed.replace("vision_model.", "model.vision_tower.", 1)
    if name.startswith("mlp1."):
        renamed = _rename(name, _inverse(_PROJECTOR_FRAGMENTS))
        return renamed.replace("mlp1.", "model.multi_modal_projector.", 1)
    raise ValueError(f"{name!r} is no tensor of an InternVL checkpoint in OpenGVLab's layout")


def internlm2_name(name: str) -> str:
    """Return the name that a tensor of the engine has where the language model is saved as InternLM2.

    For q, k and v of the language model it is the name of `wqkv`, which contains all three.
    """
    if not name.startswith("language_model."):
        return name
    for part in "qkv":
        name = name.replace(f".self_attn.{part}_proj.", ".self_attn.wqkv.", 1)
    return _rename(name, _inverse(_INTERNLM2_FRAGMENTS))


def vision_layer(name: str) -> int | None:
    """Return the number of the vision tower's layer that a tensor of any layout belongs to, or None."""
    layer = _VISION_LAYER.match(opengvlab_name(name))
    return int(layer[1]) if layer else None


def is_internlm2(name: str) -> bool:
    """Return whether only a checkpoint with an InternLM2 language model has a tensor of this name."""
    return name.startswith("language_model.") and opengvlab_name(name) != name


def _rename(name: str, fragments: Iterable[tuple[str, str]]) -> str:
    for old, new in fragments:
        name = name.replace(old, new, 1)
    return name


def _inverse(fragments: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(new, old) for old, new in fragments]
