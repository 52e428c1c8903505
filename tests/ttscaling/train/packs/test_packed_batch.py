"""A pack gives the same logits, losses and log-probabilities as its samples one by one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.ttscaling.train.data.material import data_set, preparation, tiny_model
from ttscaling.records.chats import ChatRecord, Turn
from ttscaling.records.pairs import PairRecord
from ttscaling.train.nano.network.padding import collate
from ttscaling.train.network.attention import segments_of
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.log_probs import token_log_probs
from ttscaling.train.objectives.losses import response_log_probs, scaled_loss, weighted_cross_entropy
from ttscaling.train.packs.packed_batch import PackedBatch, pack_pairs, pack_samples
from ttscaling.train.samples.chat_samples import chat_sample
from ttscaling.train.samples.pair_samples import CHOSEN, REJECTED, PairSample, pair_sample
from ttscaling.train.samples.sample import Sample


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def model() -> V2PEInternVL:
    """A model in double precision, in which a pack and its samples differ by at most 1e-9 on every CPU."""
    return tiny_model().double()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Samples with no, one and two images, with answers of different lengths."""
    folder = data_set(tmp_path_factory.mktemp("drawings"))
    rng = np.random.default_rng(5)
    records = [
        ChatRecord(turns=(Turn("user", "1+1?"), Turn("assistant", "It is 2."))),
        ChatRecord(turns=(Turn("user", "What?"), Turn("assistant", "Cat")), images=("wide.png",)),
        ChatRecord(
            turns=(Turn("user", "<image> or <image>?"), Turn("assistant", "The second one, I'd say.")),
            images=("square.png", "wide.png"),
        ),
    ]
    return [chat_sample(record, folder, preparation(), rng) for record in records]


def image_token(model: V2PEInternVL) -> int:
    return int(model.config.image_token_id)


def logits_of(model: V2PEInternVL, batch: PackedBatch) -> torch.Tensor:
    logits_TV: torch.Tensor = model.lm_head(model.hidden_states(**batch.inputs))[0]
    return logits_TV


@torch.no_grad()
def test_logits_of_a_pack_are_those_of_its_samples(model: V2PEInternVL, samples: list[Sample]) -> None:
    packed_TV = logits_of(model, pack_samples(samples, image_token=image_token(model)))
    alone = [model.lm_head(model.hidden_states(**collate([sample]).inputs))[0] for sample in samples]
    assert len({delta for sample in samples for delta in sample.deltas}) > 1
    assert_close(packed_TV, torch.cat(alone))


@torch.no_grad()
def test_the_mask_and_the_positions_matter(model: V2PEInternVL, samples: list[Sample]) -> None:
    """Without segments, or with positions that run on through the pack, the logits differ."""
    batch = pack_samples(samples, image_token=image_token(model))
    right_TV = logits_of(model, batch)
    no_T = torch.zeros_like(batch.ids_1T[0])
    everyone = {**batch.inputs, "segments": segments_of(no_T, no_T)}
    running = {**batch.inputs, "position_ids": torch.arange(batch.ids_1T.shape[1])[None].float()}
    for inputs in (everyone, running):
        wrong_TV = model.lm_head(model.hidden_states(**inputs))[0]
        assert (wrong_TV - right_TV).abs().max() > 0.1


def loss_and_gradient(
    model: V2PEInternVL, batches: list[PackedBatch], *, num_processes: int = 1
) -> tuple[float, torch.Tensor]:
    """Return the global loss over micro-batches, and the gradient of the output head."""
    model.zero_grad()
    total = torch.stack([batch.weight_1T.sum() for batch in batches]).sum()
    loss = 0.0
    for batch in batches:
        at_1T = batch.weight_1T > 0
        logits_SV = logits_of(model, batch)[at_1T[0]]
        loss_sum = weighted_cross_entropy(logits_SV, batch.target_1T[at_1T], batch.weight_1T[at_1T])
        scaled = scaled_loss(loss_sum, total, num_processes=num_processes)
        scaled.backward()
        loss += scaled.item()
    assert model.lm_head.weight.grad is not None
    return loss, model.lm_head.weight.grad.clone()


def test_the_loss_does_not_depend_on_the_micro_batches(model: V2PEInternVL, samples: list[Sample]) -> None:
    token = image_token(model)
    together = loss_and_gradient(model, [pack_samples(samples, image_token=token)])
    one_by_one = loss_and_gradient(model, [pack_samples([s], image_token=token) for s in samples])
    unevenly = loss_and_gradient(
        model, [pack_samples(samples[:2], image_token=token), pack_samples(samples[2:], image_token=token)]
    )
    for loss, gradient in (one_by_one, unevenly):
        assert loss == pytest.approx(together[0], abs=1e-5)
        assert_close(gradient, together[1])


def test_the_loss_is_the_formula_s(model: V2PEInternVL, samples: list[Sample]) -> None:
    """The loss is sum_i w_i CE_i / sum_i w_i with w = 1/sqrt(l), here in plain floats."""
    above, below = 0.0, 0.0
    for sample in samples:
        with torch.no_grad():
            logits_TV = model.lm_head(model.hidden_states(**collate([sample]).inputs))[0].double()
        at = np.flatnonzero(sample.weight_T)
        for t in at:
            log_p = logits_TV[t].log_softmax(-1)[sample.target_T[t]].item()
            above -= log_p / len(at) ** 0.5
            below += 1 / len(at) ** 0.5
    loss, _ = loss_and_gradient(model, [pack_samples(samples, image_token=image_token(model))])
    assert loss == pytest.approx(above / below, abs=1e-5)


def test_positions_restart_and_sequences_are_bounded(model: V2PEInternVL, samples: list[Sample]) -> None:
    batch = pack_samples(samples, image_token=image_token(model))
    bounds = batch.inputs["segments"].cu_query_S1.tolist()
    assert bounds == np.cumsum([0, *(sample.num_tokens for sample in samples)]).tolist()
    assert [batch.pos_1T[0, start].item() for start in bounds[:-1]] == [0, 0, 0]
    assert batch.pos_1T.dtype == torch.float32
    visual_T = batch.ids_1T[0] == image_token(model)
    steps_T = torch.diff(batch.pos_1T[0])[visual_T[1:] & visual_T[:-1]]
    assert set(steps_T.tolist()) == {delta for sample in samples for delta in sample.deltas}


RECORDS = [
    PairRecord(question="What is it?", chosen="A cat, two legs.", rejected="Dog", images=("wide.png",)),
    PairRecord(question="1+1?", chosen="2", rejected="Eleven."),
]


def pairs(tmp_path: Path) -> list[PairSample]:
    folder, rng = data_set(tmp_path), np.random.default_rng(1)
    return [pair_sample(record, folder, preparation(), rng) for record in RECORDS]


@torch.no_grad()
def test_log_probabilities_of_pairs_are_those_of_single_conversations(
    tmp_path: Path, model: V2PEInternVL
) -> None:
    packed = pack_pairs(pairs(tmp_path), image_token=image_token(model))
    at_T = packed.response_1T[0] >= 0
    log_prob_S = token_log_probs(logits_of(model, packed.batch)[at_T], packed.batch.target_1T[0, at_T])
    sum_R, length_R = response_log_probs(log_prob_S, packed.response_1T[0, at_T], 2 * packed.num_pairs)

    folder, rng = data_set(tmp_path), np.random.default_rng(1)
    expected = []
    for record in RECORDS:
        state = rng.bit_generator.state
        for response in (record.chosen, record.rejected):
            rng.bit_generator.state = state
            chat = ChatRecord(
                turns=(Turn("user", record.question), Turn("assistant", response)), images=record.images
            )
            sample = chat_sample(chat, folder, preparation(average="token"), rng)
            logits_TV = model.lm_head(model.hidden_states(**collate([sample]).inputs))[0]
            log_prob_T = token_log_probs(logits_TV, torch.from_numpy(sample.target_T))
            expected.append((log_prob_T * torch.from_numpy(sample.weight_T)).sum())
    torch.testing.assert_close(sum_R, torch.stack(expected), rtol=1e-5, atol=1e-5)
    assert length_R.tolist() == [len(text) + 1 for r in RECORDS for text in (r.chosen, r.rejected)]


def test_a_prompt_is_computed_once(tmp_path: Path) -> None:
    pair = pairs(tmp_path)[0]
    assert pair.num_tiles == 3
    # Each letter is one token, and each response ends with one more.
    responses = len(RECORDS[0].chosen) + len(RECORDS[0].rejected) + 2
    prompt = int((pair.branch_T == 0).sum())
    assert pair.num_tokens == prompt + responses + 2  # each branch begins with the prompt's last token
    np.testing.assert_array_equal(pair.sample.weight_T > 0, pair.response_T >= 0)
    assert [int((pair.response_T == response).sum()) for response in (CHOSEN, REJECTED)] == [
        len(text) + 1 for text in (RECORDS[0].chosen, RECORDS[0].rejected)
    ]
