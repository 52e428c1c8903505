"""InternVL3 with V2PE in plain torch, for training and as a reference for the engine.

It extends transformers' model, with these differences:
1. `forward` and `generate` compute positions from the token ids and a delta per image (`model.v2pe`).
2. There is always an attention mask. Without a mask, transformers takes any position step other than 1 for
   the border of a packed sequence, and cuts attention at every visual token.
3. Pixels may be uint8 tiles, which are normalised on the model's device.
4. Dynamic NTK stays off, as in the published V2PE code, so the rotary base is the plain theta.
5. The language model takes the `segments` of a pack in place of a mask over all pairs of its tokens
   (`attention.py`).

Shapes: B rows of T tokens, R runs of context tokens, N tiles, H x W pixels, C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLModel

from model.images.tiling import PIXEL_MEAN, PIXEL_STD
from model.v2pe import positions

from .attention import IN_SEGMENTS

Delta = float | Sequence[float] | torch.Tensor
"""One delta for all images, or one for each run of context tokens, row by row.

An image with its thumbnail is one run, and so is each frame of a video.
"""


def normalise(tiles_NHWC: torch.Tensor) -> torch.Tensor:
    """Return uint8 tiles as normalised float32 `pixels_NCHW`, on the same device."""
    mean_C, std_C = (torch.tensor(values, device=tiles_NHWC.device) for values in (PIXEL_MEAN, PIXEL_STD))
    return ((tiles_NHWC.float() / 255 - mean_C) / std_C).permute(0, 3, 1, 2).contiguous()


def token_positions(
    ids_BT: torch.Tensor, mask_BT: torch.Tensor, delta: Delta, *, image_token: int
) -> torch.Tensor:
    """Return the V2PE position (B, T) of every token, float32. It is 0 where `mask_BT` is 0.

    Each row starts from 0.

    Raises:
        ValueError: the number of deltas differs from the number of runs, or a delta isn't in (0, 1].
    """
    real_BT = mask_BT.bool().cpu().numpy()
    visual_BT = (ids_BT == image_token).cpu().numpy() & real_BT
    begins_BT = visual_BT & ~np.pad(visual_BT, ((0, 0), (1, 0)))[:, :-1]
    num_runs = int(begins_BT.sum())
    delta_R = np.asarray(delta, dtype=np.float64)
    if delta_R.ndim == 0:
        delta_R = np.full(num_runs, delta_R)
    if delta_R.shape != (num_runs,):
        raise ValueError(
            f"{num_runs} runs of visual tokens need as many deltas, not {delta_R.size}: give one for each "
            "image and one for each frame of a video, in the order of the rows"
        )
    delta_BT = np.ones(visual_BT.shape)
    delta_BT[visual_BT] = delta_R[np.cumsum(begins_BT).reshape(begins_BT.shape)[visual_BT] - 1]
    position_BT = np.zeros(visual_BT.shape, dtype=np.float32)
    for position_T, real_T, visual_T, delta_T in zip(position_BT, real_BT, visual_BT, delta_BT, strict=True):
        position_T[real_T] = positions(visual_T[real_T], delta_T[real_T])
    return torch.from_numpy(position_BT).to(ids_BT.device)


class V2PEModel(InternVLModel):
    """The vision tower, the projector and the language model, without the output head."""

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> Any:
        """Return the embeddings of uint8 `tiles_NHWC` or of normalised float `pixels_NCHW`."""
        if pixel_values.dtype == torch.uint8:
            pixel_values = normalise(pixel_values)
        return super().get_image_features(pixel_values, **kwargs)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        *,
        delta: Delta = 1.0,
        **kwargs: Any,
    ) -> Any:
        """Return the hidden states in transformers' output object.

        Args:
            input_ids: int64 (B, T), padded on either side.
            pixel_values: the tiles of all images in order, in a form that `get_image_features` takes.
            attention_mask: (B, T), 1 where there is a token; by default 1 everywhere. With a mask of another
                shape, or with a cache that holds tokens already, `position_ids` are required.
            position_ids: float (B, T), used in place of the positions that follow from `delta`.
            past_key_values: transformers' cache of earlier tokens.
            delta: the V2PE deltas.

        Raises:
            ValueError: `token_positions` refuses the deltas, or the positions don't follow from the ids and
                `position_ids` is missing.
        """
        if attention_mask is None and input_ids is not None and not _length(past_key_values):
            attention_mask = torch.ones_like(input_ids)
        if position_ids is None:
            if input_ids is None or attention_mask is None or attention_mask.shape != input_ids.shape:
                raise ValueError(
                    "positions can't be computed from embeddings, with a filled cache, or with a mask of "
                    "another shape than the ids: give position_ids"
                )
            position_ids = token_positions(
                input_ids, attention_mask, delta, image_token=self.config.image_token_id
            )
        return super().forward(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )


class V2PEInternVL(InternVLForConditionalGeneration):
    """The complete model. `forward` and `generate` take transformers' arguments and `delta`.

    The positions of generated tokens continue in steps of 1 from the prompt's last position, rounded up.
    """

    def __init__(self, config: InternVLConfig) -> None:
        config.text_config.rope_parameters = _plain(config.text_config.rope_parameters)
        # These are the steps of the parent's __init__, but with our model. Their order decides which random
        # weights a seed gives.
        super(InternVLForConditionalGeneration, self).__init__(config)
        self.model = V2PEModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()
        self.model.language_model.set_attn_implementation(IN_SEGMENTS)

    def hidden_states(self, **inputs: Any) -> torch.Tensor:
        """Return the last hidden states (B, T, D), from which a loss computes only the logits that it needs.

        The arguments and errors are those of `V2PEModel.forward`.
        """
        hidden_BTD: torch.Tensor = self.model(**inputs, use_cache=False).last_hidden_state
        return hidden_BTD

    def prepare_inputs_for_generation(self, input_ids: torch.Tensor, delta: Any = None, **kwargs: Any) -> Any:
        """Return the inputs of one step, without the delta, because the positions contain it already."""
        return super().prepare_inputs_for_generation(input_ids, **kwargs)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: Mapping[str, Any]
    ) -> torch.Tensor:
        mask, delta = model_kwargs["attention_mask"], model_kwargs.get("delta", 1.0)
        return token_positions(inputs_tensor, mask, delta, image_token=self.config.image_token_id)

    def _update_model_kwargs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(*args, **kwargs)
        updated["position_ids"][:, -1].ceil_()  # a prompt may end within an image
        return updated


def _length(cache: Any) -> int:
    return 0 if cache is None else int(cache.get_seq_length())


def _plain(rope: Mapping[str, Any]) -> dict[str, Any]:
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "dynamic"):
        raise ValueError(
            f"V2PE isn't defined with rotary scaling {kind!r}: use a checkpoint without rotary scaling"
        )
    return {"rope_type": "default", "rope_theta": rope["rope_theta"]}
