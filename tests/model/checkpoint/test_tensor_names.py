"""Names of tensors map both ways, to the names that transformers' model has."""

import pytest

from model.checkpoint.tensor_names import internlm2_name, is_internlm2, opengvlab_name, transformers_name

PUBLISHED = {
    "vision_model.embeddings.class_embedding": "model.vision_tower.embeddings.cls_token",
    "vision_model.embeddings.position_embedding": "model.vision_tower.embeddings.position_embeddings",
    "vision_model.embeddings.patch_embedding.weight": (
        "model.vision_tower.embeddings.patch_embeddings.projection.weight"
    ),
    "vision_model.encoder.layers.10.attn.proj.bias": (
        "model.vision_tower.encoder.layer.10.attention.projection_layer.bias"
    ),
    "vision_model.encoder.layers.3.attn.q_norm.weight": (
        "model.vision_tower.encoder.layer.3.attention.q_norm.weight"
    ),
    "vision_model.encoder.layers.3.norm1.bias": "model.vision_tower.encoder.layer.3.layernorm_before.bias",
    "vision_model.encoder.layers.3.norm2.bias": "model.vision_tower.encoder.layer.3.layernorm_after.bias",
    "vision_model.encoder.layers.3.ls1": "model.vision_tower.encoder.layer.3.lambda_1",
    "vision_model.encoder.layers.3.ls2": "model.vision_tower.encoder.layer.3.lambda_2",
    "vision_model.encoder.layers.3.mlp.fc1.weight": "model.vision_tower.encoder.layer.3.mlp.fc1.weight",
    "mlp1.0.weight": "model.multi_modal_projector.layer_norm.weight",
    "mlp1.1.bias": "model.multi_modal_projector.linear_1.bias",
    "mlp1.3.weight": "model.multi_modal_projector.linear_2.weight",
    "language_model.model.layers.5.self_attn.q_proj.weight": (
        "model.language_model.layers.5.self_attn.q_proj.weight"
    ),
    "language_model.model.norm.weight": "model.language_model.norm.weight",
    "language_model.lm_head.weight": "lm_head.weight",
}


@pytest.mark.parametrize(("opengvlab", "transformers"), PUBLISHED.items())
def test_names_map_both_ways(opengvlab: str, transformers: str):
    assert opengvlab_name(transformers) == opengvlab
    assert transformers_name(opengvlab) == transformers
    assert opengvlab_name(opengvlab) == opengvlab


# The names are without the prefix "language_model.".
INTERNLM2 = {
    "model.tok_embeddings.weight": "model.embed_tokens.weight",
    "model.layers.7.attention.wo.weight": "model.layers.7.self_attn.o_proj.weight",
    "model.layers.7.feed_forward.w1.weight": "model.layers.7.mlp.gate_proj.weight",
    "model.layers.7.feed_forward.w2.weight": "model.layers.7.mlp.down_proj.weight",
    "model.layers.7.feed_forward.w3.weight": "model.layers.7.mlp.up_proj.weight",
    "model.layers.7.attention_norm.weight": "model.layers.7.input_layernorm.weight",
    "model.layers.7.ffn_norm.weight": "model.layers.7.post_attention_layernorm.weight",
    "output.weight": "lm_head.weight",
}


@pytest.mark.parametrize(("internlm2", "engine"), INTERNLM2.items())
def test_names_of_internlm2_map_both_ways(internlm2: str, engine: str):
    internlm2, engine = f"language_model.{internlm2}", f"language_model.{engine}"
    assert opengvlab_name(internlm2) == engine
    assert internlm2_name(engine) == internlm2
    assert is_internlm2(internlm2)
    assert not is_internlm2(engine)


def test_q_k_and_v_are_parts_of_internlm2s_wqkv():
    for part in "qkv":
        name = f"language_model.model.layers.1.self_attn.{part}_proj.bias"
        assert internlm2_name(name) == "language_model.model.layers.1.attention.wqkv.bias"


@pytest.mark.parametrize("name", ["language_model.model.norm.weight", *list(PUBLISHED)[:13]])
def test_tensors_that_internlm2_shares_keep_their_names(name: str):
    assert internlm2_name(name) == name
    assert not is_internlm2(name)
