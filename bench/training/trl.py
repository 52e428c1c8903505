"""TRL's DPOTrainer (as MPO) and SFTTrainer on the samples of `internvl3 bench training`.

They are called as TRL's documentation shows it for images, with three exceptions. The reference model is
passed in, because TRL finds none for a model that wasn't loaded by name (and can't compute references ahead
for images). SFTTrainer's labels are cut down to a critic's judgements, because it refuses
`assistant_only_loss` for images. The processor has no part for videos, because that part needs torchvision.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, InternVLForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor

from bench.harness.gpu import gpu_figures, wait_for_gpu
from model.checkpoint.config_file import described
from model.image_tokens import IMAGE_CONTEXT, IMAGE_END, IMAGE_START
from model.images.tiling import PIXEL_MEAN, PIXEL_STD
from ttscaling.records.judged_steps import parse_judged
from ttscaling.train.samples.chat_encoder import END, HEADER
from ttscaling.train.samples.critic_chats import label_steps, published_chat

from .material import start_model
from .systems import CLIP, RATE

IGNORED = -100


class ImageProcessor(InternVLProcessor):
    """transformers' processor of texts and images, without its part for videos."""

    def __init__(self, images: Any, tokenizer: Any, tokens_per_tile: int) -> None:
        super().__init__(images, tokenizer, image_seq_length=tokens_per_tile)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


class Trl:
    """`trainer.train()` on batches that the trainer's collator has prepared."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()

    def prepare(self, case: Mapping[str, Any]) -> Any:
        folder = Path(case["folder"])
        ours = start_model(folder)
        model = InternVLForConditionalGeneration(ours.config)
        model.load_state_dict(ours.state_dict())
        lines = (folder / f"{case['kind']}.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines[: case["batch"] * case["steps"]]]
        make = dpo_trainer if case["kind"] == "mpo" else sft_trainer
        trainer = make(model, processor(folder / "checkpoint"), folder, records, self._settings(case))
        batches = list(trainer.get_train_dataloader())
        trainer.get_train_dataloader = lambda: batches
        return trainer

    def work(self, trainer: Any) -> Any:
        trainer.train()
        wait_for_gpu()
        return trainer

    def summary(self, trainer: Any) -> dict[str, Any]:
        """Return how many positions are supervised in all, and a GPU's figures."""
        batches = trainer.get_train_dataloader()
        supervised = sum(int(_supervised(batch).sum()) for batch in batches)
        return {"supervised": supervised, **gpu_figures(trainer.train)}

    def _settings(self, case: Mapping[str, Any]) -> dict[str, Any]:
        gpu = torch.cuda.is_available()
        return {
            "output_dir": self._folder.name,
            "per_device_train_batch_size": case["micro_batch"],
            "gradient_accumulation_steps": case["batch"] // case["micro_batch"],
            "max_steps": case["steps"],
            "learning_rate": RATE,
            "max_grad_norm": CLIP,
            "max_length": None,
            "bf16": gpu,
            "use_cpu": not gpu,
            "gradient_checkpointing": gpu,
            "train_sampling_strategy": "sequential",
            "remove_unused_columns": False,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "logging_steps": case["steps"],
        }


def processor(checkpoint: Path) -> ImageProcessor:
    """Return transformers' processor with a checkpoint's tokenizer and tile settings."""
    description = described(checkpoint)
    tiling = description.tiling
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.start_image_token, tokenizer.end_image_token = IMAGE_START, IMAGE_END
    tokenizer.context_image_token, tokenizer.video_token = IMAGE_CONTEXT, "<video>"
    for token in ("start_image", "end_image", "context_image"):
        text = getattr(tokenizer, f"{token}_token")
        setattr(tokenizer, f"{token}_token_id", tokenizer.convert_tokens_to_ids(text))
    images = GotOcr2ImageProcessorPil(
        size={"height": tiling.tile_size, "width": tiling.tile_size},
        crop_to_patches=True,
        min_patches=tiling.min_tiles,
        max_patches=tiling.max_tiles,
        image_mean=PIXEL_MEAN,
        image_std=PIXEL_STD,
    )
    return ImageProcessor(images, tokenizer, description.tokens_per_tile)


def dpo_trainer(
    model: Any, processor: Any, folder: Path, records: Sequence[Any], settings: Mapping[str, Any]
) -> Any:
    """Return a DPOTrainer with MPO's losses and weights, as TRL documents them."""
    from trl import DPOConfig, DPOTrainer

    rows = [
        {
            "images": [_image(folder, record)],
            "prompt": f"<|im_start|>user\n{IMAGE_CONTEXT}\n{record['question']}{END}\n{HEADER}",
            "chosen": f"{record['chosen']}{END}",
            "rejected": f"{record['rejected']}{END}",
        }
        for record in records
    ]
    losses = {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0], "beta": 0.1}
    return DPOTrainer(
        model=model,
        ref_model=copy.deepcopy(model),
        args=DPOConfig(**settings, **losses),
        processing_class=processor,
        train_dataset=_data_set(rows),
    )


def sft_trainer(
    model: Any, processor: Any, folder: Path, records: Sequence[Any], settings: Mapping[str, Any]
) -> Any:
    """Return an SFTTrainer on a critic's conversations, with labels at the judgements only."""
    from trl import SFTConfig, SFTTrainer

    rows = []
    for record in records:
        chat = published_chat(label_steps(parse_judged(record)))
        turns = "".join(f"<|im_start|>{turn.role}\n{turn.text}{END}\n" for turn in chat.turns)
        opening = f"<|im_start|>user\n{IMAGE_CONTEXT}\n"
        text = turns.replace("<|im_start|>user\n", opening, 1)
        rows.append({"images": [_image(folder, record)], "text": text})
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**settings),
        processing_class=processor,
        train_dataset=_data_set(rows),
    )
    header = processor.tokenizer(HEADER, add_special_tokens=False).input_ids
    trainer.data_collator = _only_judgements(trainer.data_collator, torch.tensor(header))
    return trainer


def _only_judgements(collator: Any, header_H: torch.Tensor) -> Any:
    """Return the collator with labels on nothing but the token after each assistant's header."""

    def collate(rows: Any) -> Any:
        batch = collator(rows)
        windows_BWH = batch["input_ids"].unfold(1, len(header_H), 1)
        begins_BW = (windows_BWH == header_H).all(dim=-1)
        judgement_BT = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
        judgement_BT[:, len(header_H) :] = begins_BW[:, :-1]
        batch["labels"] = batch["input_ids"].masked_fill(~judgement_BT, IGNORED)
        return batch

    return collate


def _supervised(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return batch["completion_mask"] if "completion_mask" in batch else batch["labels"] != IGNORED


def _image(folder: Path, record: Mapping[str, Any]) -> Image.Image:
    return Image.open(folder / record["image"]).convert("RGB")


def _data_set(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)
