"""Our MPO loss compared with TRL's DPOTrainer on the same model and the same pairs.

There are two known differences, which are the reasons not to train with TRL. Its `bco_pair` has no reward
shift, so ours is 0 here. Its `sft` averages over all tokens of the batch, while the paper and we average
within a response.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.training.command import PEERS_FOLDER
from bench.training.material import start_model, write_material
from bench.training.systems import OursReferencesGiven
from ttscaling.train.objectives.mpo_loss import MpoTerms, PairLogProbs, mpo_terms
from ttscaling.train.settings.kinds import MpoWeights

pytestmark = pytest.mark.skipif(
    not PEERS_FOLDER.exists(), reason="TRL isn't installed: `internvl3 bench training` installs it into runs"
)
CASE = {"kind": "mpo", "batch": 4, "steps": 1, "pack_tokens": 2048, "micro_batch": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    write_material(folder, "nano", samples=4)
    return folder


@pytest.fixture(scope="module")
def trainer(folder: Path) -> Any:
    """Return TRL's trainer with a policy near the reference, but not equal, so that no term is trivial."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PEERS_FOLDER))
        from bench.training.trl import Trl

        contender = Trl()
        trainer = contender.prepare({**CASE, "folder": str(folder)})
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            for parameter in trainer.model.parameters():
                parameter += 0.02 * parameter.std() * torch.randn(parameter.shape, generator=generator)
        yield trainer


def trl_loss(trainer: Any, *losses: str, weights: tuple[float, ...] = (1.0,)) -> float:
    (batch,) = trainer.get_train_dataloader()
    trainer.loss_types, trainer.loss_weights = list(losses), list(weights)
    with torch.no_grad():
        loss: torch.Tensor = trainer.compute_loss(trainer.model, dict(batch))
    return float(loss)


@pytest.fixture(scope="module")
def log_probs(trainer: Any) -> PairLogProbs:
    """Return the log-probabilities from the logits of TRL's two models."""
    (batch,) = trainer.get_train_dataloader()
    inputs = {key: value for key, value in batch.items() if key != "completion_mask"}
    mask_BT = batch["completion_mask"][:, 1:]
    sums = []
    for model in (trainer.model, trainer.ref_model):
        with torch.no_grad():
            logits_BTV = model(**inputs, use_cache=False).logits[:, :-1].float()
        target_BT1 = inputs["input_ids"][:, 1:, None]
        log_prob_BT = logits_BTV.log_softmax(dim=-1).gather(-1, target_BT1)[..., 0]
        sums.append((log_prob_BT * mask_BT).sum(dim=1))
    chosen, rejected = (sums[0].chunk(2), sums[1].chunk(2))
    length_P = mask_BT.sum(dim=1).chunk(2)[0].float()
    return PairLogProbs(chosen[0], chosen[1], rejected[0], rejected[1], length_P)


@pytest.fixture(scope="module")
def terms(log_probs: PairLogProbs) -> MpoTerms:
    return mpo_terms(log_probs, beta=0.1, shift=0.0)


def test_preference_and_quality_are_trl_s(trainer: Any, terms: MpoTerms) -> None:
    assert trl_loss(trainer, "sigmoid") == pytest.approx(terms.preference.mean().item(), abs=1e-6)
    assert trl_loss(trainer, "bco_pair") == pytest.approx(terms.quality.mean().item(), abs=1e-6)


def test_generation_is_trl_s_except_for_the_average(
    trainer: Any, terms: MpoTerms, log_probs: PairLogProbs
) -> None:
    length_P = log_probs.chosen_length
    over_tokens = (terms.generation * length_P).sum() / length_P.sum()
    assert trl_loss(trainer, "sft") == pytest.approx(over_tokens.item(), abs=1e-6)
    assert len(set(length_P.tolist())) > 1
    assert terms.generation.mean().item() != pytest.approx(over_tokens.item(), abs=2e-5)


def test_the_weighted_sum_is_trl_s(trainer: Any, terms: MpoTerms, log_probs: PairLogProbs) -> None:
    trl_sum = trl_loss(trainer, "sigmoid", "bco_pair", "sft", weights=(0.8, 0.2, 1.0))
    length_P = log_probs.chosen_length
    others = terms.loss(MpoWeights(generation=0)).mean()
    expected = others + (terms.generation * length_P).sum() / length_P.sum()
    assert trl_sum == pytest.approx(expected.item(), abs=1e-6)


def test_a_pack_with_shared_prompts_has_the_log_probabilities_of_trl_s_rows(
    trainer: Any, log_probs: PairLogProbs, folder: Path
) -> None:
    """Tokens, images, template and positions are equal. TRL pads, and computes each prompt twice."""
    ours = OursReferencesGiven()
    (packs,) = ours.prepare({**CASE, "folder": str(folder)})
    objective = ours.objective
    assert start_model(folder).config.image_token_id == objective.image_token
    chosen_P, rejected_P = objective.references.for_draws(range(4))
    torch.testing.assert_close(chosen_P, log_probs.reference_chosen, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(rejected_P, log_probs.reference_rejected, atol=1e-3, rtol=1e-4)
    assert sum(micro.num_samples for micro in packs.micros) == 4
