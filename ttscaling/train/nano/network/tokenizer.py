"""The nano tokenizer: byte-level BPE with InternVL's special tokens and chat template.

Every byte has a token, so any text can be asked; the merges come from the nano tasks' own sentences, so
these are short. Digits are never merged: arithmetic is written digit by digit.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ttscaling.nano_tasks.problems import random_task, solve

IMAGE_CONTEXT = "<IMG_CONTEXT>"
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", IMAGE_CONTEXT)
VOCAB_SIZE = 448
# A word with its leading space, a digit with its leading space, a run of newlines or of #, any other single
# character.
WORDS = r" ?\p{L}+| ?\p{N}|\n+|#+|[^\s\p{L}\p{N}]|\s"
# ChatML as InternVL2.5 and InternVL3 write it, without their long default system message. An image stands
# where its content part stands, followed by a newline.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}"
    "{%- elif part['type'] in ('image', 'image_url') -%}{{- '<image>\\n' -}}"
    "{%- elif part['type'] in ('video', 'video_url') -%}{{- '<video>\\n' -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def corpus(num_tasks: int = 4000) -> Iterator[str]:
    """The sentences that the merges are counted on."""
    rng = np.random.default_rng(0)
    for _ in range(num_tasks):
        task = random_task(rng)
        yield task.question
        yield solve(task).text
    yield from ["### Question:\n\n### Solution Process:\n", "system\nuser\nassistant\n"] * num_tasks
    yield from ["Read the sheet.", "Check each statement.", "What is the sum of"] * num_tasks


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer; deterministic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<img>", "</img>", IMAGE_CONTEXT],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved beside a checkpoint."""
    return PreTrainedTokenizerFast.from_pretrained(directory)
