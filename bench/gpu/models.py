"""Models with random weights, and packs of random tokens, for the checks of training on a GPU."""

from typing import Literal

import numpy as np
import torch
from transformers import InternVLConfig, InternVLVisionConfig, Qwen2Config

from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.objectives.next_token import NextToken
from ttscaling.train.objectives.objective import MicroBatch
from ttscaling.train.packs.mixture import Draw
from ttscaling.train.packs.pack_stream import Corpus, DrawnSample
from ttscaling.train.run.task import TrainingTask
from ttscaling.train.samples.sample import Sample
from ttscaling.train.settings.recipe import Recipe

Size = Literal["tiny", "1B"]
DELTA = 0.0625


def config_of(size: Size) -> InternVLConfig:
    """Return the config of a model of InternVL3-1B's size, or of a tiny one for a machine without a GPU."""
    if size == "1B":
        vision = InternVLVisionConfig(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            image_size=[448, 448],
            patch_size=[14, 14],
            attention_bias=True,
        )
        text = Qwen2Config(
            vocab_size=151674,
            hidden_size=896,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            intermediate_size=4864,
            max_position_embeddings=32768,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=False,
        )
    else:
        vision = InternVLVisionConfig(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            image_size=[56, 56],
            patch_size=[14, 14],
            attention_bias=True,
        )
        text = Qwen2Config(
            vocab_size=512,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=256,
            max_position_embeddings=32768,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=False,
        )
    patches = (vision.image_size[0] // vision.patch_size[0]) ** 2
    return InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=text.vocab_size - 1,
        image_seq_length=patches // 4,
        tie_word_embeddings=False,
    )


def random_model(config: InternVLConfig) -> V2PEInternVL:
    """Return a model with random weights of a fixed seed, in fp32 on the CPU."""
    torch.manual_seed(0)
    return V2PEInternVL(config)


def random_micro(config: InternVLConfig, *, tokens: int, tiles: int, seed: int) -> MicroBatch:
    """Return a pack of `tokens` tokens in three sequences. The first and the longest one share the tiles."""
    rng = np.random.default_rng(seed)
    lengths = (tokens // 4, tokens - tokens // 4 - tokens // 8, tokens // 8)
    images = (tiles // 2, tiles - tiles // 2, 0)
    samples = [_sample(rng, config, *sizes) for sizes in zip(lengths, images, strict=True)]
    drawn = [DrawnSample(Draw(number, 0, number), sample) for number, sample in enumerate(samples)]
    return NextToken(image_token=int(config.image_token_id)).micro(drawn)


def task_of(config: InternVLConfig, recipe: Recipe) -> TrainingTask:
    """Return a task of next tokens without data, for steps on given packs."""
    corpus: Corpus[None, Sample] = Corpus((), lambda data: None, lambda *_: _nothing(), seed=0)
    return TrainingTask(corpus, NextToken(image_token=int(config.image_token_id)), recipe)


def recipe_of(*, tokens: int, tiles: int) -> Recipe:
    """Return a recipe for packs of this size, in bf16 and with recomputed activations."""
    return Recipe(steps=1, batch=1, learning_rate=1e-4, max_tokens=tokens, max_tiles=tiles, deltas=(DELTA,))


def _nothing() -> Sample:
    raise LookupError("these checks have no data")


def _sample(rng: np.random.Generator, config: InternVLConfig, length: int, tiles: int) -> Sample:
    visual = tiles * config.image_seq_length
    ids_T = rng.integers(0, config.text_config.vocab_size - 1, length)
    ids_T[1 : 1 + visual] = config.image_token_id
    side = config.vision_config.image_size[0]
    return Sample(
        ids_T=ids_T,
        target_T=np.append(ids_T[1:], ids_T[-1:]),
        weight_T=np.where(ids_T == config.image_token_id, 0.0, 1.0).astype(np.float32),
        deltas=(DELTA,) if tiles else (),
        tiles_NHWC=rng.integers(0, 256, (tiles, side, side, 3), dtype=np.uint8) if tiles else None,
    )
