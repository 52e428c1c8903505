"""Sample answers from a nano model in batches, for rollouts and quick evaluations.

Each decoded token moves the position by 1, beginning at the prompt's last position. A prompt is run once, and
its key-value cache is repeated for all its samples. A row that has ended leaves the batch.

Shapes: B prompts, R rows (continuations that are still being written), T tokens, V vocabulary.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from ttscaling.train.network.internvl import V2PEInternVL, token_positions
from ttscaling.train.samples.sample import Sample

from .padding import collate


@torch.inference_mode()
def sample_continuations(
    model: V2PEInternVL,
    prompts: Sequence[Sample],
    *,
    n: int,
    temperature: float,
    max_tokens: int,
    eos_token: int,
    generator: torch.Generator | None = None,
) -> list[list[list[int]]]:
    """Return n continuations of each prompt as token ids without the end token.

    Temperature 0 decodes greedily. A continuation that doesn't end within `max_tokens` tokens is cut there.
    """
    image_token = model.config.image_token_id
    batch = collate(prompts, left=True)
    position_BT = token_positions(batch.ids_BT, batch.mask_BT, batch.delta_R, image_token=image_token)
    output = model(
        **batch.inputs,
        position_ids=position_BT,
        use_cache=True,
        past_key_values=DynamicCache(config=model.config.text_config),
        logits_to_keep=1,
    )
    cache = output.past_key_values
    cache.batch_repeat_interleave(n)
    logits_RV = output.logits[:, -1].repeat_interleave(n, dim=0)
    mask_RT = batch.mask_BT.repeat_interleave(n, dim=0)
    pos_R = position_BT[:, -1].ceil().repeat_interleave(n, dim=0)
    row_R = torch.arange(len(prompts) * n)
    tokens: list[list[int]] = [[] for _ in range(len(prompts) * n)]

    for step in range(max_tokens):
        # A sampled context token would stand for an image that does not exist.
        logits_RV[:, image_token] = -torch.inf
        if temperature == 0:
            next_R = logits_RV.argmax(dim=-1)
        else:
            probs_RV = torch.softmax(logits_RV.float() / temperature, dim=-1)
            next_R = torch.multinomial(probs_RV, 1, generator=generator)[:, 0]
        alive_R = next_R != eos_token
        for row, token in zip(row_R[alive_R].tolist(), next_R[alive_R].tolist(), strict=True):
            tokens[row].append(token)
        if not alive_R.any() or step == max_tokens - 1:
            break
        if not alive_R.all():
            keep = alive_R.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            mask_RT, pos_R, row_R, next_R = mask_RT[keep], pos_R[keep], row_R[keep], next_R[keep]
        mask_RT = torch.cat([mask_RT, mask_RT.new_ones(len(mask_RT), 1)], dim=1)
        pos_R = pos_R + 1
        output = model(
            input_ids=next_R[:, None],
            attention_mask=mask_RT,
            position_ids=pos_R[:, None],
            use_cache=True,
            past_key_values=cache,
        )
        logits_RV = output.logits[:, -1]
    return [tokens[number * n : (number + 1) * n] for number in range(len(prompts))]
