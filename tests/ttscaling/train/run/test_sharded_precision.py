"""Every number that bf16 would spoil is float32 within the forward pass of a model that is sharded in bf16.

Positions are those of packs of thousands of tokens. bf16 has no 256.25 and, above 4,096, only every 32nd
whole number.
"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor

from tests.ttscaling.train.jobs import job, recipe
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.records.meta import read_meta
from ttscaling.train.checkpoints.load import load_model
from ttscaling.train.network.internvl import V2PEInternVL, normalise
from ttscaling.train.objectives.losses import scaled_loss
from ttscaling.train.objectives.objective import MicroBatch
from ttscaling.train.objectives.preference import Preference
from ttscaling.train.run.job import Job
from ttscaling.train.run.sharding import make_accelerator, prepared
from ttscaling.train.run.task import TrainingTask, make_task

LONG = recipe(max_tokens=6000, open_packs=1, deltas=(0.25, 0.0625), precision="bf16")


def task_of(training_job: Job) -> TrainingTask:
    data_sets = read_meta(training_job.data, base=training_job.base)
    return make_task(training_job.kind, training_job.model, data_sets, training_job.recipe)


class Recorder:
    """Records the tensors that an objective and the parts of the model get and return, by name."""

    def __init__(self, model: V2PEInternVL) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        language = model.model.language_model
        language.register_forward_pre_hook(self._language, with_kwargs=True)
        language.rotary_emb.register_forward_hook(self._rotary)
        embeddings = model.model.vision_tower.embeddings.patch_embeddings
        embeddings.register_forward_pre_hook(self._pixels)
        language.layers[0].self_attn.q_proj.register_forward_hook(self._query)

    def _language(self, module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        self.tensors["positions"] = keywords["position_ids"]

    def _rotary(self, module: Any, arguments: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.tensors["rotary positions"] = arguments[1]
        self.tensors["inverse frequencies"] = module.inv_freq
        self.tensors["cosines"], self.tensors["sines"] = output

    def _pixels(self, module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        self.tensors["pixels"] = arguments[0]

    def _query(self, module: Any, arguments: Any, output: torch.Tensor) -> None:
        self.tensors["queries"] = output

    def loss(self, task: TrainingTask) -> Any:
        """Return the loss of the task's objective, as `ShardedRoot` calls it."""

        def loss(model: V2PEInternVL, micro: MicroBatch) -> Any:
            batch = micro.batch.packed.batch if hasattr(micro.batch, "packed") else micro.batch
            self.tensors["positions of the pack"] = batch.pos_1T
            self.tensors["weights"] = batch.weight_1T
            inner, figures = task.objective.loss(model, micro)
            self.tensors["loss inside"] = inner.detach()
            return inner, figures

        return loss


def record(jobs: tuple[Job, ...], folder: Path) -> None:
    """Save what the recorder sees in a forward and a backward pass of this process, for each job."""
    for training_job in jobs:
        accelerator = make_accelerator("bf16")
        tensors = recorded(training_job, accelerator)
        path = folder / f"{training_job.kind}-{accelerator.process_index}.pt"
        torch.save({name: tensor.detach().clone() for name, tensor in tensors.items()}, path)
        accelerator.free_memory()


def recorded(training_job: Job, accelerator: Accelerator) -> Mapping[str, torch.Tensor]:
    assert accelerator.is_fsdp2
    task = task_of(training_job)
    model = load_model(training_job.model, dtype=torch.float32)
    recorder = Recorder(model)
    module, _ = prepared(model, task, accelerator)
    pack = next(task.stream(accelerator.process_index))
    micro = task.objective.micro(pack)
    if isinstance(task.objective, Preference):
        with torch.no_grad():
            sum_R, length_R = module(task.objective.log_probs, micro)
        recorder.tensors |= {"log-probabilities": sum_R, "lengths": length_R}
    else:
        loss, figures = module(recorder.loss(task), micro)
        accelerator.backward(scaled_loss(loss, torch.tensor(1.0), num_processes=2))
        recorder.tensors |= {"loss": loss.detach(), "figure": figures["loss"]}
        gradient = next(parameter.grad for parameter in module.parameters() if parameter.grad is not None)
        assert isinstance(gradient, DTensor)
        recorder.tensors["gradient"] = gradient.to_local()
    return recorder.tensors


def test_what_bf16_would_spoil_is_float32_in_the_forward_pass(tmp_path: Path) -> None:
    jobs = (job(tmp_path, "sft", recipe=LONG, length=200), job(tmp_path, "mpo", recipe=LONG, length=200))
    run_sharded(tmp_path, 2, record, jobs, tmp_path)
    for training_job, process in product(jobs, range(2)):
        seen = torch.load(tmp_path / f"{training_job.kind}-{process}.pt")
        task = task_of(training_job)
        micro = task.objective.micro(next(task.stream(process)))
        preferences = training_job.kind == "mpo"
        batch = micro.batch.packed.batch if preferences else micro.batch
        assert len(batch.ids_1T[0]) > 3000 and batch.pos_1T.max() > 1500
        assert seen["queries"].dtype == torch.bfloat16, "the arithmetic is in bf16"
        if batch.tiles_NHWC is not None:  # They are normalised in float32 and then rounded once.
            assert torch.equal(seen["pixels"], normalise(batch.tiles_NHWC).bfloat16())
        for name, expected in expectations(batch).items():
            if name in seen:
                assert seen[name].dtype == torch.float32, name
                torch.testing.assert_close(seen[name], expected, rtol=0, atol=0, msg=name)
        angle_TC = batch.pos_1T[0, :, None].double() * seen["inverse frequencies"].double()
        cosine_TC = seen["cosines"][0, :, : angle_TC.shape[1]].double()
        # Cosines are rounded to bf16 once, as in the published models. Angles are not.
        torch.testing.assert_close(cosine_TC, angle_TC.cos(), rtol=0, atol=2**-8)
        for name in ("loss inside", "loss", "figure", "gradient", "log-probabilities", "lengths"):
            assert name not in seen or seen[name].dtype == torch.float32, name
        if not preferences:
            assert seen["loss"] == seen["loss inside"] == seen["figure"]


def expectations(batch: Any) -> dict[str, torch.Tensor]:
    """Return what the forward pass must see, by the names of the recorder."""
    return {
        "positions": batch.pos_1T,
        "rotary positions": batch.pos_1T,
        "positions of the pack": batch.pos_1T,
        "weights": batch.weight_1T,
    }
