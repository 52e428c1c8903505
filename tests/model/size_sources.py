"""Where each value in the table of published sizes was read; all other values are inferred.

Where a machine has the published files, `test_size_sources.py` compares the table with them. The page
docs/checkpoints.md shows this table.
"""

from dataclasses import dataclass

LANGUAGE = ("hidden", "ffn", "layers", "heads", "kv_heads", "theta", "eps", "window")
EVERY = (*LANGUAGE, "vocab", "dynamic", "vision")


@dataclass(frozen=True)
class Source:
    """What was read of one size.

    `fields` are those of `tests.model.sizes.Size` that were read. Most configs don't state "head_dim".
    `read_in` and `inferred` are for people.
    """

    read_in: str
    fields: tuple[str, ...] = ()
    inferred: str = "nothing"
    index: bool = False  # Whether the names of the tensors and their size in bytes were read too.


_QWEN2_5 = "all: the dimensions of the Qwen2.5 that the paper names, the rest as in the 8B"
_QWEN3 = "all: Qwen3's dimensions, the rest as in the 8B"
SOURCES: dict[str, Source] = {
    "InternVL3-1B": Source("the config, as a program printed it", EVERY),
    "InternVL3-2B": Source("all files but the index and the weights", EVERY),
    "InternVL3-8B": Source("all files but the weights", EVERY, index=True),
    "InternVL3-9B": Source(
        "nothing of its own; InternLM3-8B's config and tokenizer",
        inferred="all: InternLM3's dimensions under InternLM2's names (OpenGVLab/InternVL issue 1267), and a "
        "vocabulary of InternLM3's 128,133 pieces and nine tokens",
    ),
    "InternVL3-14B": Source(
        "eight numbers of a converted file (ggml-org/llama.cpp issue 15528)",
        LANGUAGE,
        "the vocabulary, the rotary scaling and the vision tower: as in the 8B",
    ),
    "InternVL3-38B": Source("nothing", inferred=_QWEN2_5),
    "InternVL3-78B": Source(
        "the config, as another project keeps it (Ascend/MindSpeed-MM)", EVERY, "the names of the tensors"
    ),
    "InternVL2_5-2B": Source("the config, as another project keeps it (PaddlePaddle/PaddleMIX)", EVERY),
    "InternVL2_5-8B": Source("nothing", inferred="all: InternLM2.5-7B's dimensions, the rest as in the 2B"),
    "InternVL2_5-26B": Source("nothing", inferred="all: InternLM2.5-20B's dimensions, the rest as in the 2B"),
    "InternVL3_5-1B": Source("nothing", inferred=_QWEN3),
    "InternVL3_5-4B": Source("all files but the weights", (*EVERY, "head_dim"), index=True),
    "InternVL3_5-8B": Source("the configs of both layouts", (*EVERY, "head_dim")),
    "InternVL3_5-14B": Source("nothing", inferred=_QWEN3),
    "InternVL3_5-38B": Source("nothing", inferred=_QWEN3),
}
