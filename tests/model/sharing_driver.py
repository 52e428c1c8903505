"""Run rounds of requests through an engine with caches, and each request alone through one without.

Called as `python -m tests.model.sharing_driver SPEC RESULT`; both are JSON files. SPEC has `model` and
`rounds`, a list of batches of {prompt, images, videos, options, n}, where a video is a list of images. RESULT
has, for each round, the number of `cut` images and frames, the number of `encoded` tiles and the `answers`, n
for each request; and the answers of the engine `without` caches.
"""

import gc
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

STEPS = 8
ENGINE = {
    "dtype": "float32",
    "max_model_len": 512,
    "enforce_eager": True,
    "block_size": 32,
    "max_num_batched_tokens": 128,
    "max_num_seqs": 8,
}
NO_CACHES = {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}


def main(spec_path: str, result_path: str) -> None:
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    spec = json.loads(Path(spec_path).read_text())
    work = count_work()
    llm = LLM(spec["model"], **ENGINE)
    rounds = []
    for requests in spec["rounds"]:
        work.clear()
        answers = generate(llm, requests)
        rounds.append({"cut": work["cut"], "encoded": work["encoded"], "answers": answers})
    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    cleanup_dist_env_and_memory()

    llm = LLM(spec["model"], **ENGINE, **NO_CACHES)
    without = [
        [answer for request in requests for answer in generate(llm, [request])] for requests in spec["rounds"]
    ]
    Path(result_path).write_text(json.dumps({"rounds": rounds, "without": without}))


def generate(llm: Any, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    prompts = [prompt(request) for request in requests]
    outputs = llm.generate(prompts, [sampling(request["n"]) for request in requests], use_tqdm=False)
    return [
        {
            "tokens": list(completion.token_ids),
            "logprobs": [
                {token: entry.logprob for token, entry in step.items()} for step in completion.logprobs
            ],
            "cached": output.num_cached_tokens,
        }
        for output in outputs
        for completion in output.outputs
    ]


def sampling(n: int) -> Any:
    """Return greedy parameters for one answer, and random ones without a seed for several."""
    from vllm import SamplingParams

    return SamplingParams(n=n, temperature=0 if n == 1 else 1, max_tokens=STEPS, logprobs=5, ignore_eos=True)


def prompt(request: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image

    data = {
        "image": [Image.open(path) for path in request["images"]],
        "video": [[Image.open(path) for path in frames] for frames in request["videos"]],
    }
    return {
        "prompt": request["prompt"],
        "multi_modal_data": {modality: media for modality, media in data.items() if media},
        "mm_processor_kwargs": request["options"],
    }


def count_work() -> Counter[str]:
    """Return counters of the media that are cut into tiles and of the tiles that the vision tower encodes."""
    from vllm.model_executor.models.intern_vit import InternVisionModel

    from model.images.tiling import tile_image

    work: Counter[str] = Counter()
    encode = InternVisionModel.forward

    def counted_cut(*args: Any) -> Any:
        work["cut"] += 1
        return tile_image(*args)

    def counted_encode(self: Any, pixels_NCHW: Any, *args: Any, **kwargs: Any) -> Any:
        work["encoded"] += len(pixels_NCHW)
        return encode(self, pixels_NCHW, *args, **kwargs)

    patch("model.plugin.inputs.processor.tile_image", counted_cut).start()
    patch.object(InternVisionModel, "forward", counted_encode).start()
    return work


if __name__ == "__main__":
    main(*sys.argv[1:])
