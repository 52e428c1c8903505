"""List the tensors of a checkpoint of a published size, in both layouts.

The lists come from OpenGVLab/InternVL's modules (`modeling_intern_vit.py`, `modeling_internlm2.py`,
`modeling_internvl_chat.py`) and from the names in transformers' `convert_internvl_weights_to_hf.py`. Nothing
here uses our model package.
"""

from collections.abc import Iterator

from tests.model.sizes import Layout, Size, VisionTower

Shape = tuple[int, ...]


def tensors(size: Size, layout: Layout) -> dict[str, Shape]:
    """Return the names and shapes of all tensors of a checkpoint of this size."""
    vision = _vision_opengvlab if layout == "opengvlab" else _vision_transformers
    internlm2 = layout == "opengvlab" and size.language == "internlm2"
    language = _internlm2(size) if internlm2 else _llama_like(size)
    return {**dict(vision(size.vision)), **dict(_projector(size, layout)), **dict(language)}


def _vision_opengvlab(tower: VisionTower) -> Iterator[tuple[str, Shape]]:
    d = tower.hidden
    yield "vision_model.embeddings.class_embedding", (1, 1, d)
    yield "vision_model.embeddings.position_embedding", (1, (tower.side // tower.patch) ** 2 + 1, d)
    yield "vision_model.embeddings.patch_embedding.weight", (d, 3, tower.patch, tower.patch)
    yield "vision_model.embeddings.patch_embedding.bias", (d,)
    for n in range(tower.layers):
        layer = f"vision_model.encoder.layers.{n}."
        yield layer + "attn.qkv.weight", (3 * d, d)
        if tower.qkv_bias:
            yield layer + "attn.qkv.bias", (3 * d,)
        if tower.qk_norm:
            yield layer + "attn.q_norm.weight", (d,)
            yield layer + "attn.k_norm.weight", (d,)
        yield from _linear(layer + "attn.proj", d, d)
        yield from _linear(layer + "mlp.fc1", d, tower.ffn)
        yield from _linear(layer + "mlp.fc2", tower.ffn, d)
        for norm in ("norm1", "norm2"):
            yield from _norm(layer + norm, tower)
        yield layer + "ls1", (d,)
        yield layer + "ls2", (d,)


def _vision_transformers(tower: VisionTower) -> Iterator[tuple[str, Shape]]:
    d = tower.hidden
    yield "vision_tower.embeddings.cls_token", (1, 1, d)
    yield "vision_tower.embeddings.position_embeddings", (1, (tower.side // tower.patch) ** 2 + 1, d)
    yield "vision_tower.embeddings.patch_embeddings.projection.weight", (d, 3, tower.patch, tower.patch)
    yield "vision_tower.embeddings.patch_embeddings.projection.bias", (d,)
    for n in range(tower.layers):
        layer = f"vision_tower.encoder.layer.{n}."
        for part in "qkv":
            yield layer + f"attention.{part}_proj.weight", (d, d)
            if tower.qkv_bias:
                yield layer + f"attention.{part}_proj.bias", (d,)
        if tower.qk_norm:
            yield layer + "attention.q_norm.weight", (d,)
            yield layer + "attention.k_norm.weight", (d,)
        yield from _linear(layer + "attention.projection_layer", d, d)
        yield from _linear(layer + "mlp.fc1", d, tower.ffn)
        yield from _linear(layer + "mlp.fc2", tower.ffn, d)
        for norm in ("layernorm_before", "layernorm_after"):
            yield from _norm(layer + norm, tower)
        yield layer + "lambda_1", (d,)
        yield layer + "lambda_2", (d,)


def _projector(size: Size, layout: Layout) -> Iterator[tuple[str, Shape]]:
    merged = 4 * size.vision.hidden
    norm, first, second = (
        ("mlp1.0", "mlp1.1", "mlp1.3")
        if layout == "opengvlab"
        else tuple(f"multi_modal_projector.{name}" for name in ("layer_norm", "linear_1", "linear_2"))
    )
    yield norm + ".weight", (merged,)
    yield norm + ".bias", (merged,)
    yield from _linear(first, merged, size.hidden)
    yield from _linear(second, size.hidden, size.hidden)


def _llama_like(size: Size) -> Iterator[tuple[str, Shape]]:
    d, q, kv = size.hidden, size.heads * size.head_dim, size.kv_heads * size.head_dim
    yield "language_model.model.embed_tokens.weight", (size.vocab, d)
    for n in range(size.layers):
        layer = f"language_model.model.layers.{n}."
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            yield layer + f"self_attn.{part}_proj.weight", (rows, d)
            if size.language == "qwen2":
                yield layer + f"self_attn.{part}_proj.bias", (rows,)
        if size.language == "qwen3":
            yield layer + "self_attn.q_norm.weight", (size.head_dim,)
            yield layer + "self_attn.k_norm.weight", (size.head_dim,)
        yield layer + "self_attn.o_proj.weight", (d, q)
        yield layer + "mlp.gate_proj.weight", (size.ffn, d)
        yield layer + "mlp.up_proj.weight", (size.ffn, d)
        yield layer + "mlp.down_proj.weight", (d, size.ffn)
        yield layer + "input_layernorm.weight", (d,)
        yield layer + "post_attention_layernorm.weight", (d,)
    yield "language_model.model.norm.weight", (d,)
    if not size.tied:
        yield "language_model.lm_head.weight", (size.vocab, d)


def _internlm2(size: Size) -> Iterator[tuple[str, Shape]]:
    d, rows = size.hidden, (size.heads + 2 * size.kv_heads) * size.head_dim
    yield "language_model.model.tok_embeddings.weight", (size.vocab, d)
    for n in range(size.layers):
        layer = f"language_model.model.layers.{n}."
        yield layer + "attention.wqkv.weight", (rows, d)
        yield layer + "attention.wo.weight", (d, size.heads * size.head_dim)
        yield layer + "feed_forward.w1.weight", (size.ffn, d)
        yield layer + "feed_forward.w3.weight", (size.ffn, d)
        yield layer + "feed_forward.w2.weight", (d, size.ffn)
        yield layer + "attention_norm.weight", (d,)
        yield layer + "ffn_norm.weight", (d,)
    yield "language_model.model.norm.weight", (d,)
    yield "language_model.output.weight", (size.vocab, d)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield name + ".weight", (outputs, inputs)
    yield name + ".bias", (outputs,)


def _norm(name: str, tower: VisionTower) -> Iterator[tuple[str, Shape]]:
    yield name + ".weight", (tower.hidden,)
    if tower.norm == "layer_norm":
        yield name + ".bias", (tower.hidden,)
