"""A config survives the conversion to the other layout and back."""

import pytest
from transformers import InternVLConfig, InternVLForConditionalGeneration

from model.checkpoint.config_layouts import config_to_opengvlab, config_to_transformers
from model.checkpoint.tensors import to_opengvlab, to_transformers
from tests.checkpoints import random_model


@pytest.fixture(scope="module")
def model() -> InternVLForConditionalGeneration:
    return random_model(262, 261, tied=False, seed=3)


def test_a_config_survives_the_round_trip(model: InternVLForConditionalGeneration):
    config = config_to_opengvlab(model.config, min_dynamic_patch=2, max_dynamic_patch=5)
    assert (config["min_dynamic_patch"], config["max_dynamic_patch"]) == (2, 5)
    back = InternVLConfig(**config_to_transformers(config, image_token_id=261))
    rebuilt = InternVLForConditionalGeneration(back)
    rebuilt.load_state_dict(to_transformers(to_opengvlab(model.state_dict())))
    assert back.text_config.rope_parameters == model.config.text_config.rope_parameters
    assert back.image_seq_length == model.config.image_seq_length


def test_a_rotary_scaling_is_kept_in_the_config(model: InternVLForConditionalGeneration):
    config = InternVLConfig(**config_to_transformers(config_to_opengvlab(model.config), image_token_id=261))
    config.text_config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}
    written = config_to_opengvlab(config)["llm_config"]
    assert written["rope_theta"] == 1e6
    assert written["rope_scaling"] == {"type": "dynamic", "factor": 2.0}
