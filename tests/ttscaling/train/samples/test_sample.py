"""Samples of different lengths, with and without images, become one padded batch."""

import numpy as np
import torch

from ttscaling.train.nano.network.padding import collate
from ttscaling.train.samples.sample import Sample


def sample(ids: list[int], *deltas: float) -> Sample:
    tiles_NHWC = np.full((len(deltas), 2, 2, 3), len(ids), dtype=np.uint8) if deltas else None
    ids_T = np.array(ids)
    return Sample(ids_T, ids_T + 1, np.full(len(ids), 0.5, np.float32), deltas, tiles_NHWC)


def test_rows_are_padded_on_either_side() -> None:
    samples = [sample([1, 2]), sample([3, 4, 5])]
    right, left = collate(samples), collate(samples, left=True)
    assert right.ids_BT.tolist() == [[1, 2, 0], [3, 4, 5]]
    assert left.ids_BT.tolist() == [[0, 1, 2], [3, 4, 5]]
    for batch in (right, left):
        assert torch.equal(batch.mask_BT, (batch.ids_BT != 0).long())
        assert torch.equal(batch.target_BT, torch.where(batch.ids_BT > 0, batch.ids_BT + 1, 0))
        assert torch.equal(batch.weight_BT, 0.5 * batch.mask_BT)


def test_tiles_and_deltas_stand_in_the_order_of_the_samples() -> None:
    batch = collate([sample([1, 2], 0.5, 1.0), sample([3]), sample([4, 5, 6], 0.25)])
    assert batch.delta_R.tolist() == [0.5, 1.0, 0.25]
    assert batch.inputs["pixel_values"][:, 0, 0, 0].tolist() == [2, 2, 3]
    assert batch.inputs["pixel_values"].dtype == torch.uint8
    assert "pixel_values" not in collate([sample([3])]).inputs


def test_what_follows_a_sample_is_context() -> None:
    longer = sample([1, 2], 0.5).followed_by([7, 8, 9])
    assert longer.ids_T.tolist() == [1, 2, 7, 8, 9]
    assert longer.weight_T.tolist() == [0.5, 0.5, 0, 0, 0]
    assert longer.deltas == (0.5,) and longer.num_tokens == 5 and longer.num_tiles == 1
