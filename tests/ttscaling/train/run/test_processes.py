"""The weight of a batch and the reward shift are summed over processes, here over two real ones."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from ttscaling.train.objectives.losses import scaled_loss
from ttscaling.train.objectives.mpo_loss import RewardShift


def add_up(tensor: torch.Tensor) -> torch.Tensor:
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def of_process(rank: int, folder: Path) -> None:
    """The two processes have different numbers of tokens and rewards. The second has no reward at first."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    weight = torch.tensor([[0.5, 0.5], [0.25, 0.0]][rank])
    total = add_up(2 * weight.sum())
    parameter = torch.ones((), requires_grad=True)
    scaled_loss((weight * 2 * parameter).sum() * 2, total, num_processes=2).backward()
    assert parameter.grad is not None
    averaged = add_up(parameter.grad) / 2
    shift = RewardShift()
    shift.update(torch.tensor([[1.0, 3.0], []][rank]), add_up)
    shift.update(torch.tensor([[5.0], [7.0]][rank]), add_up)
    torch.save([total.item(), averaged.item(), shift.mean], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_agree_on_the_batch_s_weight_and_the_reward_shift(tmp_path: Path) -> None:
    spawn(of_process, args=(tmp_path,), nprocs=2)
    for rank in range(2):
        total, gradient, shift = torch.load(tmp_path / f"{rank}.pt")
        assert total == pytest.approx(2.5)
        assert gradient == pytest.approx(2), "the mean of equal losses doesn't depend on the weights"
        assert shift == pytest.approx(4)
