"""The MPO loss compared with its formulas in plain floats and with TRL's published definitions."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.ttscaling.train.data.material import data_set, preparation, tiny_model
from ttscaling.records.pairs import PairRecord
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.log_probs import token_log_probs
from ttscaling.train.objectives.losses import response_log_probs
from ttscaling.train.objectives.mpo_loss import (
    PairLogProbs,
    RewardShift,
    mpo_terms,
    pair_log_probs,
    rewards,
)
from ttscaling.train.packs.packed_batch import PackedPairs, pack_pairs
from ttscaling.train.samples.pair_samples import pair_sample
from ttscaling.train.settings.kinds import MpoWeights


def one_process(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over the processes when there is one."""
    return tensor


def random_log_probs(pairs: int, seed: int = 0) -> PairLogProbs:
    generator = torch.Generator().manual_seed(seed)
    policy = -30 * torch.rand(2, pairs, generator=generator)
    reference = policy + 6 * torch.randn(2, pairs, generator=generator)
    length = torch.randint(1, 40, (pairs,), generator=generator).float()
    return PairLogProbs(policy[0], policy[1], reference[0], reference[1], length)


def minus_log_sigmoid(x: float) -> float:
    return math.log1p(math.exp(-x)) if x > -30 else -x


@pytest.mark.parametrize("shift", [0.0, 0.7, -1.5])
def test_the_terms_are_the_paper_s_formulas(shift: float) -> None:
    """The terms are DPO, BCO's two halves, and the chosen response's mean loss (InternVL3 eq. 10-13)."""
    p, beta = random_log_probs(6), 0.1
    terms = mpo_terms(p, beta=beta, shift=shift)
    for i in range(6):
        chosen = beta * (p.chosen[i].item() - p.reference_chosen[i].item())
        rejected = beta * (p.rejected[i].item() - p.reference_rejected[i].item())
        preference = minus_log_sigmoid(chosen - rejected)
        quality = minus_log_sigmoid(chosen - shift) + minus_log_sigmoid(-(rejected - shift))
        generation = -p.chosen[i].item() / p.chosen_length[i].item()
        assert terms.preference[i].item() == pytest.approx(preference, abs=1e-5)
        assert terms.quality[i].item() == pytest.approx(quality, abs=1e-5)
        assert terms.generation[i].item() == pytest.approx(generation, abs=1e-5)
        expected = 0.8 * preference + 0.2 * quality + generation
        assert terms.loss(MpoWeights())[i].item() == pytest.approx(expected, abs=1e-5)


def test_each_term_can_be_left_out() -> None:
    terms = mpo_terms(random_log_probs(3), beta=0.1, shift=0.2)
    only_quality = MpoWeights(preference=0, quality=1, generation=0)
    torch.testing.assert_close(terms.loss(only_quality), terms.quality)


def trl_losses(p: PairLogProbs, beta: float, delta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return TRL's `sigmoid` and `bco_pair` by its documentation (0.16; delta is 0 from 1.16)."""
    logits = (p.chosen - p.rejected) - (p.reference_chosen - p.reference_rejected)
    chosen_rewards = beta * (p.chosen - p.reference_chosen)
    rejected_rewards = beta * (p.rejected - p.reference_rejected)
    positive, negative = chosen_rewards - delta, -(rejected_rewards - delta)
    return -F.logsigmoid(beta * logits), -F.logsigmoid(positive) - F.logsigmoid(negative)


def test_two_terms_are_trl_s() -> None:
    p = random_log_probs(8)
    for shift in (0.0, 0.4):
        terms = mpo_terms(p, beta=0.1, shift=shift)
        sigmoid, bco = trl_losses(p, 0.1, shift)
        torch.testing.assert_close(terms.preference, sigmoid)
        torch.testing.assert_close(terms.quality, bco)


def test_the_shift_is_trl_s_running_mean_over_equal_batches() -> None:
    """RunningMoments of TRL 0.16 averages the means of all batches since the start."""
    shift, means = RewardShift(), []
    for seed in range(5):
        chosen, rejected = rewards(random_log_probs(4, seed), 0.1)
        shift.update(torch.cat([chosen, rejected]), one_process)
        means.append(torch.cat([chosen, rejected]).mean().item())
        assert shift.mean == pytest.approx(sum(means) / len(means), abs=1e-6)


def test_the_shift_counts_rewards_not_batches() -> None:
    shift = RewardShift()
    assert shift.mean == 0
    for batch in ([1.0], [4.0, 4.0, 4.0], []):
        shift.update(torch.tensor(batch), one_process)
    assert shift.mean == pytest.approx(13 / 4)


def test_the_shift_survives_a_checkpoint() -> None:
    shift, again = RewardShift(), RewardShift()
    shift.update(torch.tensor([0.1, 0.7]), one_process)
    again.load_state_dict(json.loads(json.dumps(shift.state_dict())))
    for one in (shift, again):
        one.update(torch.tensor([0.3]), one_process)
    assert again.mean == shift.mean


def test_gradients_go_to_the_policy_only_and_the_right_way() -> None:
    chosen, rejected = (torch.tensor([-5.0], requires_grad=True) for _ in range(2))
    reference = torch.tensor([-5.0], requires_grad=True)
    p = PairLogProbs(chosen, rejected, reference.detach(), reference.detach(), torch.tensor([2.0]))
    terms = mpo_terms(p, beta=0.1, shift=0.0)
    terms.loss(MpoWeights()).sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() < 0 < rejected.grad.item()
    assert not terms.chosen_reward.requires_grad


def test_far_apart_log_probabilities_stay_finite() -> None:
    huge = torch.tensor([1e4])
    p = PairLogProbs(-huge, huge, huge, -huge, torch.tensor([1.0]))
    terms = mpo_terms(p, beta=0.1, shift=0.0)
    assert terms.preference.item() == pytest.approx(4000)
    assert terms.quality.item() == pytest.approx(4000)


def responses_of(model: V2PEInternVL, packed: PackedPairs) -> tuple[torch.Tensor, torch.Tensor]:
    at_T = packed.response_1T[0] >= 0
    logits_SV = model.lm_head(model.hidden_states(**packed.batch.inputs)[0, at_T])
    log_prob_S = token_log_probs(logits_SV, packed.batch.target_1T[0, at_T])
    return response_log_probs(log_prob_S, packed.response_1T[0, at_T], 2 * packed.num_pairs)


def test_steps_on_a_pack_of_pairs_start_from_the_reference_and_prefer_the_chosen(tmp_path: Path) -> None:
    model, folder = tiny_model(), data_set(tmp_path)
    records = [
        PairRecord(question="What?", chosen="A cat.", rejected="A dog", images=("wide.png",)),
        PairRecord(question="1+1?", chosen="2", rejected="Eleven"),
    ]
    rng = np.random.default_rng(0)
    packed = pack_pairs(
        [pair_sample(record, folder, preparation(), rng) for record in records],
        image_token=model.config.image_token_id,
    )
    with torch.no_grad():
        reference_R, _ = responses_of(model, packed)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses, margins = [], []
    for _ in range(4):
        sum_R, length_R = responses_of(model, packed)
        log_probs = pair_log_probs(sum_R, length_R, reference_R[0::2], reference_R[1::2])
        terms = mpo_terms(log_probs, beta=0.1, shift=0.0)
        loss = terms.loss(MpoWeights()).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        margins.append((terms.chosen_reward - terms.rejected_reward).min().item())
    generation = -(reference_R[0::2] / torch.tensor([7.0, 2.0])).mean().item()
    assert losses[0] == pytest.approx(0.8 * math.log(2) + 0.2 * 2 * math.log(2) + generation, abs=1e-4)
    assert losses[-1] < losses[0]
    assert margins[-1] > margins[0] == pytest.approx(0, abs=1e-4)
