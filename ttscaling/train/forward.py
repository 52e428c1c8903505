"""A batch through a transformers InternVL with V2PE positions."""

import torch
from transformers import InternVLForConditionalGeneration

from .batch import Batch


def hidden_states(model: InternVLForConditionalGeneration, batch: Batch) -> torch.Tensor:
    """The language model's last hidden states, (B, T, D).

    The attention mask is always given: without one, transformers takes any position step other than 1 for the
    border of a packed sequence and cuts attention at every visual token.
    """
    hidden_BTD: torch.Tensor = model.model(
        input_ids=batch.ids_BT,
        pixel_values=batch.pixels_NCHW,
        attention_mask=batch.mask_BT,
        position_ids=batch.pos_BT,
        use_cache=False,
    ).last_hidden_state
    return hidden_BTD
