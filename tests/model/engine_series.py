"""Run several vLLM engines one after the other in one process, because importing vLLM takes long.

`run_series` runs in the test's process. It starts `python -m tests.model.engine_series SPEC RESULT`; both are
JSON files. SPEC is a list of engines (see `engine`), each with the requests of one batch (see `question`).
RESULT maps the name of each engine to `answers` (for each request a list of its completions) and `compiled`
(how many models were compiled), or to the error with which it failed to start.
"""

import gc
import json
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any
from zlib import crc32

DEFAULTS = {
    "dtype": "float32",
    "max_model_len": 256,
    "enforce_eager": True,
    "block_size": 32,
    "max_num_seqs": 16,
    "limit_mm_per_prompt": {"image": 4},
}
GREEDY = {"temperature": 0, "max_tokens": 12, "logprobs": 5, "ignore_eos": True}


PICTURES = ((300, 190), (50, 60), (170, 90))
"""The sizes of the pictures of `question`, which become 7, 1 and 3 tiles."""


def question(folder: Path, *picture_numbers: int, delta: float = 1.0, **more: Any) -> dict[str, Any]:
    """Return a request about some of PICTURES, in OpenGVLab's layout.

    Args:
        folder: the pictures are written there.
        picture_numbers: indices into PICTURES.
        more: `sampling` and `structured` are arguments of vLLM's classes; `lora` is an adapter's folder.
    """
    import numpy as np
    from PIL import Image

    paths = []
    for number in picture_numbers:
        width, height = PICTURES[number]
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    pictures = " and ".join(["<image>"] * len(picture_numbers))
    return {
        "prompt": f"<|im_start|>user\nLook: {pictures}\nWhat is it?<|im_end|>\n<|im_start|>assistant\n",
        "images": [str(path) for path in paths],
        "options": {"v2pe_delta": delta},
        **more,
    }


def questions(folder: Path, **more: Any) -> list[dict[str, Any]]:
    """Return three requests: many tiles, two pictures with a small delta, and one tile."""
    return [
        question(folder, 0, delta=1 / 4, **more),
        question(folder, 1, 2, delta=1 / 16, **more),
        question(folder, 1, **more),
    ]


def engine(
    name: str,
    checkpoint: Path,
    requests: list[dict[str, Any]],
    /,
    *,
    buckets_of: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return one engine of SPEC.

    Args:
        buckets_of: a checkpoint whose tensors the running engine gets before the requests, a few in each
            call, as a trainer sends them.
    """
    one = {"name": name, "engine": {"model": str(checkpoint), **options}, "requests": requests}
    return one | ({"buckets_of": str(buckets_of)} if buckets_of else {})


def run_series(
    engines: list[dict[str, Any]], folder: Path, env: dict[str, str], *, ranks: int = 1
) -> list[dict[str, Any]]:
    """Return the RESULT of each of `ranks` processes, which share each engine (`external_launcher`)."""
    spec = folder / "spec.json"
    spec.write_text(json.dumps(engines))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(ranks):
        command = [sys.executable, "-m", "tests.model.engine_series", str(spec), str(folder / f"{rank}.json")]
        # The engine runs in the child itself, because another process would double the time of the start.
        rank_env = {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        rank_env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        log = (folder / f"{rank}.log").open("w")
        children.append(subprocess.Popen(command, env=env | rank_env, stdout=log, stderr=subprocess.STDOUT))
    try:
        codes = [child.wait(600) for child in children]
    finally:
        for child in children:
            child.kill()
    for rank, code in enumerate(codes):
        assert code == 0, (folder / f"{rank}.log").read_text()[-5000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


def tokens(answers: list[list[dict[str, Any]]]) -> list[list[int]]:
    """Return the tokens of each request's first completion."""
    return [completions[0]["tokens"] for completions in answers]


def furthest(some: list[list[dict[str, Any]]], others: list[list[dict[str, Any]]]) -> float:
    """Return the greatest difference of two engines' log-probabilities of a token, at the first step."""
    return max(
        abs(logprob - two[0]["logprobs"][0][token])
        for one, two in zip(some, others, strict=True)
        for token, logprob in one[0]["logprobs"][0].items()
        if token in two[0]["logprobs"][0]
    )


def main(spec_path: str, result_path: str) -> None:
    results = {one["name"]: run(one) for one in json.loads(Path(spec_path).read_text())}
    Path(result_path).write_text(json.dumps(results))


def run(one: dict[str, Any]) -> Any:
    """Return the answers of one engine, which is shut down, or the error with which it failed to start."""
    from vllm import LLM
    from vllm.compilation.counter import compilation_counter
    from vllm.distributed import cleanup_dist_env_and_memory

    compiled = compilation_counter.num_models_seen
    try:
        llm = LLM(**DEFAULTS | one["engine"])
    except Exception as error:
        traceback.print_exc()
        cleanup_dist_env_and_memory()
        return str(error)
    if "buckets_of" in one:
        llm.collective_rpc(load_in_buckets, args=(one["buckets_of"],))
    requests = one["requests"]
    outputs = llm.generate(
        [prompt(request) for request in requests],
        [sampling(request) for request in requests],
        lora_request=[adapter(request) for request in requests],
        use_tqdm=False,
    )
    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    cleanup_dist_env_and_memory()
    return {
        "answers": [[answer(completion, output) for completion in output.outputs] for output in outputs],
        "compiled": compilation_counter.num_models_seen - compiled,
    }


def load_in_buckets(worker: Any, checkpoint: str) -> None:
    """Load a checkpoint's tensors, three in each call, in an order in which q, k and v are far apart.

    On a CPU vLLM packs the weights, so they have to be unpacked and packed again.
    """
    from safetensors.torch import load_file
    from vllm.model_executor.model_loader.reload.layerwise import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    model = worker.model_runner.model
    state = load_file(Path(checkpoint) / "model.safetensors")
    names = sorted(state, key=lambda name: name[::-1])
    initialize_layerwise_reload(model)
    for start in range(0, len(names), 3):
        model.load_weights((name, state[name]) for name in names[start : start + 3])
    finalize_layerwise_reload(model, worker.vllm_config.model_config)


def prompt(request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    if not request["images"] and not request.get("videos"):
        return {"prompt": request["prompt"]}
    return {
        "prompt": request["prompt"],
        "multi_modal_data": {
            "image": [Image.open(path) for path in request["images"]],
            "video": [np.load(path) for path in request.get("videos", [])],
        },
        "mm_processor_kwargs": request["options"],
    }


def sampling(request: dict[str, Any]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    options = GREEDY | request.get("sampling", {})
    if "structured" in request:
        options["structured_outputs"] = StructuredOutputsParams(**request["structured"])
    return SamplingParams(**options)


def adapter(request: dict[str, Any]) -> Any:
    from vllm.lora.request import LoRARequest

    path = request.get("lora")
    return LoRARequest(path, crc32(path.encode()), path) if path else None


def answer(completion: Any, output: Any) -> dict[str, Any]:
    steps = completion.logprobs or []
    return {
        "text": completion.text,
        "tokens": list(completion.token_ids),
        "logprobs": [{token: entry.logprob for token, entry in step.items()} for step in steps],
        "cached": output.num_cached_tokens,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
