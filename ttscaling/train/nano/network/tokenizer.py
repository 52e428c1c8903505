"""Build and load nano's tokenizer, a byte-level BPE with InternVL's special tokens and chat template.

Every byte has a token, so the tokenizer can encode any text. The merges are learnt from the sentences of the
nano tasks, so those sentences take few tokens. Digits are never merged, because nano calculates digit by
digit.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from model.image_tokens import IMAGE_CONTEXT, IMAGE_END, IMAGE_START, IMAGE_TEXT, VIDEO_TEXT
from ttscaling.nano_tasks.problems import random_task, solve

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE_START, IMAGE_END, IMAGE_CONTEXT)
VOCAB_SIZE = 448
# Merges stay within one of these pieces: a word or a digit with its leading space, a run of newlines, a run
# of #, or any other single character.
WORDS = r" ?\p{L}+| ?\p{N}|\n+|#+|[^\s\p{L}\p{N}]|\s"
# This is ChatML as InternVL2.5 and InternVL3 write it, without their long default system message. The text of
# an image or a video stands where its part stands in the message, and a newline follows it.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}"
    "{%- elif part['type'] in ('image', 'image_url') -%}{{- '" + IMAGE_TEXT + "\\n' -}}"
    "{%- elif part['type'] in ('video', 'video_url') -%}{{- '" + VIDEO_TEXT + "\\n' -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def corpus(num_tasks: int = 4000) -> Iterator[str]:
    """Yield the sentences that the tokenizer's merges are learnt from; they are the same in every run."""
    rng = np.random.default_rng(0)
    for _ in range(num_tasks):
        question = random_task(rng)
        yield question.question
        yield solve(question).text
    yield from ["### Question:\n\n### Solution Process:\n", "system\nuser\nassistant\n"] * num_tasks
    yield from ["Read the sheet.", "Check each statement.", "What is the sum of"] * num_tasks


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Return a newly trained tokenizer, the same in every run.

    `max_length` is the number of tokens that its config names as the model's maximum.
    """
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
        additional_special_tokens=["<|im_start|>", IMAGE_START, IMAGE_END, IMAGE_CONTEXT],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer that is saved in a checkpoint's folder."""
    return PreTrainedTokenizerFast.from_pretrained(directory)
