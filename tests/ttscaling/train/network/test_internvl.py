"""The training model compared with transformers' model, which gets positions computed token by token."""

from math import ceil

import numpy as np
import pytest
import torch
from transformers import InternVLForConditionalGeneration

from tests.checkpoints import TILE, random_model
from ttscaling.train.nano.network.padding import collate
from ttscaling.train.nano.network.sampling import sample_continuations
from ttscaling.train.network.internvl import V2PEInternVL, normalise, token_positions
from ttscaling.train.samples.sample import Sample

VOCAB, CONTEXT, END = 64, 5, 9
PER_TILE = 4
NEW = 6
GREEDY = {"max_new_tokens": NEW, "do_sample": False, "suppress_tokens": [CONTEXT]}


def image(num_tiles: int) -> list[int]:
    return [3, *[CONTEXT] * (PER_TILE * num_tiles), 4]


# Token ids and deltas of prompts: text only, one image, two images with different deltas, an image at the
# start and one at the end, three frames of a video.
PROMPTS = {
    "text": ([10, 11, 12, 13, 14], ()),
    "image": ([10, *image(1), 11, 12], (1 / 4,)),
    "two": ([10, *image(3), 11, *image(1), 12], (1 / 16, 1 / 2)),
    "edges": ([*image(1)[1:], 11, *image(2)[:-1]], (1 / 256, 1 / 64)),
    "video": ([10, *image(1), 20, *image(1), 20, *image(1), 11], (1 / 2,) * 3),
}


def sample(name: str) -> Sample:
    """Return a prompt with noise in its tiles."""
    ids, deltas = PROMPTS[name]
    ids_T = np.array(ids)
    shape = (ids.count(CONTEXT) // PER_TILE, TILE, TILE, 3)
    tiles_NHWC = np.random.default_rng(len(ids)).integers(0, 256, shape, dtype=np.uint8)
    return Sample(ids_T, ids_T, np.ones(len(ids), np.float32), deltas, tiles_NHWC if deltas else None)


def naive_positions(name: str, num_generated: int = 0) -> list[float]:
    ids, deltas = PROMPTS[name]
    image, result = -1, [0.0]
    for previous, token in zip([None, *ids], ids, strict=False):
        image += token == CONTEXT != previous
        if previous is not None:
            result.append(result[-1] + deltas[image] if token == CONTEXT else ceil(result[-1]) + 1.0)
    return result + [ceil(result[-1]) + 1.0 + step for step in range(num_generated)]


def naive_logits(plain: InternVLForConditionalGeneration, name: str, generated: list[int]) -> torch.Tensor:
    """Return the logits (T, V) of a prompt and the generated tokens, without a cache."""
    prompt, ids = sample(name), PROMPTS[name][0] + generated
    tiles = None if prompt.tiles_NHWC is None else normalise(torch.from_numpy(prompt.tiles_NHWC))
    with torch.no_grad():
        logits_BTV: torch.Tensor = plain(
            input_ids=torch.tensor([ids]),
            pixel_values=tiles,
            position_ids=torch.tensor([naive_positions(name, len(generated))]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            use_cache=False,
        ).logits
    return logits_BTV[0]


def naive_greedy(plain: InternVLForConditionalGeneration, name: str) -> list[int]:
    generated: list[int] = []
    while len(generated) < NEW:
        logits_V = naive_logits(plain, name, generated)[-1]
        logits_V[CONTEXT] = -torch.inf
        generated.append(int(logits_V.argmax()))
    return generated


@pytest.fixture(scope="module")
def plain() -> InternVLForConditionalGeneration:
    return random_model(VOCAB, CONTEXT, tied=False, seed=3)


@pytest.fixture(scope="module")
def model(plain: InternVLForConditionalGeneration) -> V2PEInternVL:
    model = V2PEInternVL(plain.config)
    model.load_state_dict(plain.state_dict())
    return model.eval()


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_are_those_of_transformers_at_the_same_positions(model, plain, name: str) -> None:
    batch = collate([sample(name)])
    position_BT = token_positions(batch.ids_BT, batch.mask_BT, batch.delta_R, image_token=CONTEXT)
    assert position_BT[0].tolist() == naive_positions(name)
    with torch.no_grad():
        logits_BTV = model(**batch.inputs, use_cache=False).logits
    torch.testing.assert_close(logits_BTV[0], naive_logits(plain, name, []))


@pytest.mark.parametrize("left", [True, False])
def test_padding_and_a_missing_mask_change_nothing(model, plain, left: bool) -> None:
    batch = collate([sample(name) for name in PROMPTS], left=left)
    with torch.no_grad():
        logits_BTV = model.lm_head(model.hidden_states(**batch.inputs))
    for row, name in enumerate(PROMPTS):
        logits_TV = logits_BTV[row, batch.mask_BT[row].bool()]
        torch.testing.assert_close(logits_TV, naive_logits(plain, name, []), rtol=1e-4, atol=1e-4)
        alone = collate([sample(name)]).inputs | {"attention_mask": None}
        with torch.no_grad():
            logits_TV = model.lm_head(model.hidden_states(**alone))[0]
        torch.testing.assert_close(logits_TV, naive_logits(plain, name, []))


def test_a_delta_for_each_image_or_one_delta_for_all(model) -> None:
    inputs = collate([sample("two"), sample("image")]).inputs

    def logits(delta: object) -> torch.Tensor:
        with torch.no_grad():
            return model(**inputs | {"delta": delta}).logits

    assert torch.equal(logits(1 / 4), logits(torch.tensor([1 / 4] * 3)))
    for changed in ([1, 1 / 4, 1 / 4], [1 / 4, 1, 1 / 4], [1 / 4, 1 / 4, 1]):
        rows = (logits(changed) - logits(1 / 4)).abs().amax(dim=(1, 2)) > 0.01
        assert rows.tolist() == ([False, True] if changed[2] == 1 else [True, False])


def test_tiles_may_come_as_bytes_or_as_normalised_pixels(model) -> None:
    inputs = collate([sample("two")]).inputs
    pixels = {"pixel_values": normalise(inputs["pixel_values"])}
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, model(**inputs | pixels).logits)
    white_NCHW = normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    assert white_NCHW.shape == (1, 3, 2, 2)
    assert white_NCHW[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)


@pytest.mark.parametrize("name", PROMPTS)
def test_generated_tokens_continue_from_the_prompt_s_last_position(model, plain, name: str) -> None:
    expected = naive_greedy(plain, name)
    for use_cache in (True, False):
        ids_BT = model.generate(**collate([sample(name)]).inputs, **GREEDY, use_cache=use_cache)
        assert ids_BT[0, -NEW:].tolist() == expected
    sampled = sample_continuations(model, [sample(name)], n=1, temperature=0, max_tokens=NEW, eos_token=END)
    assert sampled[0][0] == expected[: expected.index(END) if END in expected else None]


def test_a_prompt_generates_the_same_in_a_batch_and_alone(model, plain) -> None:
    inputs = collate([sample(name) for name in PROMPTS], left=True).inputs
    together = model.generate(**inputs, **GREEDY)
    assert together[:, -NEW:].tolist() == [naive_greedy(plain, name) for name in PROMPTS]
    most_likely = GREEDY | {"do_sample": True, "top_k": 1, "num_return_sequences": 2}
    assert torch.equal(model.generate(**inputs, **most_likely), together.repeat_interleave(2, dim=0))


def test_bad_deltas_are_refused(model) -> None:
    inputs = collate([sample("two")]).inputs
    with pytest.raises(ValueError, match="2 runs of visual tokens need as many deltas, not 3"):
        model(**inputs | {"delta": [1, 1, 1]})
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        model(**inputs | {"delta": [1, 0]})


def test_positions_that_do_not_follow_from_the_ids_are_required(model) -> None:
    with torch.no_grad():
        cache = model(**collate([sample("image")]).inputs, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="give position_ids"):
        model(torch.tensor([[11]]), past_key_values=cache)


def test_dynamic_ntk_stays_off_and_other_scalings_are_refused(plain) -> None:
    config = type(plain.config).from_dict(plain.config.to_dict())
    config.text_config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    rotary = V2PEInternVL(config).model.language_model.rotary_emb
    rotary(torch.zeros(1), torch.full((1, 1), 1e6))  # far beyond the window
    assert torch.equal(rotary.inv_freq, plain.model.language_model.rotary_emb.inv_freq)
    config.text_config.rope_parameters = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(ValueError, match="yarn"):
        V2PEInternVL(config)
