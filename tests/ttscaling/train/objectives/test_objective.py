"""The loss of each objective compared with its formula on single conversations in float64."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.ttscaling.train.data.material import data_set, preparation, tiny_model
from ttscaling.records.chats import ChatRecord, Turn
from ttscaling.records.pairs import PairRecord
from ttscaling.train.nano.network.padding import collate
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.objectives.judgement import Judgement
from ttscaling.train.objectives.next_token import NextToken
from ttscaling.train.objectives.objective import Objective, hidden_states
from ttscaling.train.objectives.preference import Preference
from ttscaling.train.objectives.references import References, append_references
from ttscaling.train.packs.mixture import Draw
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.samples.chat_samples import chat_sample
from ttscaling.train.samples.critic_chats import CriticRecord
from ttscaling.train.samples.critic_samples import critic_sample
from ttscaling.train.samples.pair_samples import pair_sample
from ttscaling.train.samples.sample import Sample
from ttscaling.train.settings.kinds import MpoWeights

WEIGHTS = MpoWeights()


@pytest.fixture(scope="module")
def model() -> V2PEInternVL:
    return tiny_model()


def drawn(samples: Sequence[Any]) -> list[DrawnSample[Any]]:
    return [DrawnSample(Draw(number, 0, number), sample) for number, sample in enumerate(samples)]


def image_token(model: V2PEInternVL) -> int:
    return int(model.config.image_token_id)


def answered(answers: Sequence[str], root: Path) -> list[Sample]:
    """Return conversations with these answers. Every second one has an image."""
    folder, rng = data_set(root), np.random.default_rng(0)
    records = [
        ChatRecord(
            turns=(Turn("user", "What?"), Turn("assistant", answer)),
            images=("wide.png",) if number % 2 else (),
        )
        for number, answer in enumerate(answers)
    ]
    return [chat_sample(record, folder, preparation(), rng) for record in records]


def log_probs_alone(model: V2PEInternVL, sample: Sample) -> torch.Tensor:
    """Return log p (T, V) of every next token in float64, computed from this sample alone."""
    with torch.no_grad():
        return model(**collate([sample]).inputs).logits[0].double().log_softmax(-1)


def test_next_token_is_the_square_average(model: V2PEInternVL, tmp_path: Path) -> None:
    samples = answered(["Yes.", "It is a long answer, isn't it?", "No"], tmp_path)
    objective = NextToken(image_token=image_token(model))
    micro = objective.micro(drawn(samples))
    loss, figures = objective.loss(model, micro)
    above = below = 0.0
    for sample in samples:
        at = np.flatnonzero(sample.weight_T)
        log_prob_TV = log_probs_alone(model, sample)
        above -= sum(log_prob_TV[t, sample.target_T[t]].item() for t in at) / len(at) ** 0.5
        below += len(at) ** 0.5
    assert micro.weight == pytest.approx(below, abs=1e-5)
    assert loss.item() / micro.weight == pytest.approx(above / below, abs=1e-5)
    assert figures["loss"].item() == loss.item()
    assert (micro.num_samples, micro.num_tokens) == (3, sum(sample.num_tokens for sample in samples))


def test_a_judgement_is_among_the_labels_at_the_slots(model: V2PEInternVL, tmp_path: Path) -> None:
    """The loss is over the softmax of '+' and '-' at the last header token of each slot."""
    record = CriticRecord(question="1+1?", steps=("One.", "Two.", "Three."), labels=("+", "+", "-"))
    sample = critic_sample(record, data_set(tmp_path), preparation(), np.random.default_rng(0))
    plus, minus = (preparation().encoder.ids(label)[0] for label in "+-")
    objective = Judgement(image_token=image_token(model), labels=[plus, minus])
    micro = objective.micro(drawn([sample]))
    loss, figures = objective.loss(model, micro)
    slots = np.flatnonzero(sample.weight_T)
    assert len(slots) == 3
    with torch.no_grad():
        logits_S2 = model(**collate([sample]).inputs).logits[0, slots][:, [plus, minus]].double()
    expected = F.cross_entropy(logits_S2, torch.tensor([0, 0, 1]))
    assert loss.item() / micro.weight == pytest.approx(expected.item(), abs=1e-5)
    right = (logits_S2.argmax(1) == torch.tensor([0, 0, 1])).double().mean()
    assert figures["right"].item() / micro.weight == pytest.approx(right.item(), abs=1e-6)
    model.zero_grad()
    loss.backward()
    assert model.lm_head.weight.grad is not None
    touched = model.lm_head.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()
    assert sorted(touched) == sorted([plus, minus])
    model.zero_grad()


def test_a_judgement_over_the_full_vocabulary_and_the_text(model: V2PEInternVL, tmp_path: Path) -> None:
    """Both are log-probabilities of single tokens, and only the labels' weights count in the mean."""
    record = CriticRecord(question="1+1?", steps=("1+1=2", "No."), labels=("+", "-"))
    sample = critic_sample(
        record, data_set(tmp_path), preparation(), np.random.default_rng(0), text_weight=0.5
    )
    plus, minus = (preparation().encoder.ids(label)[0] for label in "+-")
    objective = Judgement(image_token=image_token(model), labels=[plus, minus], full=True, text=True)
    micro = objective.micro(drawn([sample]))
    loss, figures = objective.loss(model, micro)
    log_prob_TV = log_probs_alone(model, sample)
    slots = np.flatnonzero(sample.slot_T)
    labels = -(log_prob_TV[slots[0], plus] + log_prob_TV[slots[1], minus]).item() / 2**0.5
    text_at = np.flatnonzero((sample.weight_T > 0) & ~sample.slot_T)
    assert len(text_at) == len("1+1=2") + 1, "a byte is a token, and the end of the turn is one"
    text = -sum(log_prob_TV[t, sample.ids_T[t + 1]].item() for t in text_at) * 0.5 / 2**0.5
    assert micro.weight == pytest.approx(2 / 2**0.5, abs=1e-5)
    assert figures["text"].item() == pytest.approx(text, abs=1e-5)
    assert loss.item() == pytest.approx(labels + text, abs=1e-5)
    logits_S2 = log_prob_TV[slots][:, [plus, minus]]
    right = (logits_S2.argmax(1) == torch.tensor([0, 1])).double().mean()
    assert figures["right"].item() / micro.weight == pytest.approx(right.item(), abs=1e-6)


def test_labels_at_the_tokens_of_the_steps(model: V2PEInternVL, tmp_path: Path) -> None:
    """Their mean counts as much as `early_weight` says, beside the mean at the slots."""
    record = CriticRecord(question="1+1?", steps=("1+1=2", "No."), labels=("+", "-"))
    sample = critic_sample(record, data_set(tmp_path), preparation(), np.random.default_rng(0))
    plus, minus = (preparation().encoder.ids(label)[0] for label in "+-")
    losses = {}
    for weight in (0.0, 3.0):
        objective = Judgement(image_token=image_token(model), labels=[plus, minus], early_weight=weight)
        micro = objective.micro(drawn([sample]))
        loss, figures = objective.loss(model, micro)
        losses[weight] = loss.item() / micro.weight
    first, _, second = np.flatnonzero(sample.ids_T == preparation().encoder.end)  # one ends the answer `+`
    logits_T2 = log_probs_alone(model, sample)[:, [plus, minus]]
    at = [*range(first - len("1+1=2"), first + 1), *range(second - len("No."), second + 1)]
    labels = torch.tensor([0] * 6 + [1] * 4)
    expected = F.cross_entropy(logits_T2[at], labels).item()
    assert figures["early"].item() / micro.weight == pytest.approx(3 * expected, abs=1e-5)
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * expected, abs=1e-5)


def test_preference_is_mpo_with_the_shift_of_the_steps_before(model: V2PEInternVL, tmp_path: Path) -> None:
    records = [
        PairRecord(question="What?", chosen="A cat.", rejected="Nothing at all.", images=("wide.png",)),
        PairRecord(question="1+1?", chosen="It is 2.", rejected="3"),
    ]
    folder, rng = data_set(tmp_path), np.random.default_rng(0)
    pairs = [pair_sample(record, folder, preparation(), rng) for record in records]
    objective = Preference(image_token=image_token(model), weights=WEIGHTS)
    micro = objective.micro(drawn(pairs))
    with pytest.raises(ValueError, match="has no references"):
        objective.loss(model, micro)
    with torch.no_grad():
        sum_R, length_R = (values.double() for values in objective.log_probs(model, micro))
    reference_R = sum_R + torch.tensor([-1.0, 2.0, 3.0, -4.0])
    rows = [(n, reference_R[2 * n].item(), reference_R[2 * n + 1].item()) for n in range(2)]
    append_references(tmp_path / "reference.jsonl", rows, {})
    objective.references = References([tmp_path / "reference.jsonl"], {})

    reward_R = WEIGHTS.beta * (sum_R - reference_R)
    for shift in (0.0, reward_R.mean().item()):  # the shifts of the first and of the second step
        assert objective.shift.mean == pytest.approx(shift, abs=1e-5)
        loss, figures = objective.loss(model, micro)
        expected = 0.0
        for n in range(2):
            chosen, rejected = reward_R[2 * n], reward_R[2 * n + 1]
            expected += 0.8 * -F.logsigmoid(chosen - rejected).item()
            expected += 0.2 * (-F.logsigmoid(chosen - shift) - F.logsigmoid(shift - rejected)).item()
            expected += (-sum_R[2 * n] / length_R[2 * n]).item()
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert figures["margin"].item() == pytest.approx(-0.4, abs=1e-4)
        objective.after_step(lambda own: own)
    again = Preference(image_token=image_token(model), weights=WEIGHTS)
    again.restore(objective.state())
    assert again.shift.mean == objective.shift.mean and again.shift.count == 8


def objectives(token: int) -> list[Objective]:
    preference = Preference(image_token=token, weights=WEIGHTS)
    preference.references = References([], {})
    return [NextToken(image_token=token), Judgement(image_token=token, labels=[43, 45]), preference]


def test_an_empty_pack_adds_nothing_but_reaches_every_parameter(model: V2PEInternVL) -> None:
    for objective in objectives(image_token(model)):
        model.zero_grad()
        micro = objective.micro([])
        loss, figures = objective.loss(model, micro)
        loss.backward()
        objective.after_step(lambda own: own)
        assert (micro.weight, micro.num_samples, loss.item()) == (0, 0, 0)
        assert all(figure.item() == 0 for figure in figures.values())
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and not parameter.grad.any(), name


def test_the_blank_tile_of_a_text_only_pack_changes_nothing(model: V2PEInternVL, tmp_path: Path) -> None:
    (sample, *_) = answered(["Yes."], tmp_path)
    micro = NextToken(image_token=image_token(model)).micro(drawn([sample]))
    with torch.no_grad():
        ours = hidden_states(model, micro.batch)
        expected = model.hidden_states(**collate([sample]).inputs)
    torch.testing.assert_close(ours, expected)
