"""Build the engine's model of every published size on the meta device, without memory, and load it.

Called as `python -m tests.model.size_driver FOLDER RESULT`. RESULT is a JSON file. For each size and layout
it has the names of the built model's `parameters` and of those that the published tensors `loaded`. vLLM's
loaders raise an error if shapes differ. No engine starts; most of the time goes into importing vLLM.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.checkpoints import byte_tokenizer, write_json
from tests.model.size_tensors import tensors
from tests.model.sizes import SIZES, UNPUBLISHED, Layout, Size, config_json

LAYOUTS: tuple[Layout, ...] = ("opengvlab", "transformers")


def main(folder: str, result_path: str) -> None:
    results = {
        f"{size.name}-{layout}": load(Path(folder) / f"{number}-{layout}", size, layout)
        for number, size in enumerate((*SIZES, *UNPUBLISHED))
        for layout in LAYOUTS
    }
    Path(result_path).write_text(json.dumps(results))


def load(directory: Path, size: Size, layout: Layout) -> dict[str, Any]:
    import torch
    from vllm import EngineArgs
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model

    directory.mkdir(parents=True)
    byte_tokenizer().save_pretrained(directory)
    write_json(directory / "config.json", config_json(size, layout))
    config = EngineArgs(str(directory), dtype="bfloat16", max_model_len=2048).create_engine_config()
    with set_current_vllm_config(config):
        require_one_process()
    with set_current_vllm_config(config), torch.device("meta"):
        model = initialize_model(vllm_config=config)
        published = ((name, torch.empty(shape)) for name, shape in tensors(size, layout).items())
        loaded = model.load_weights(published)
    return {"parameters": sorted(dict(model.named_parameters())), "loaded": sorted(loaded)}


def require_one_process() -> None:
    """Set vLLM's state up for one process, because its layers look up how many processes share them."""
    from vllm.distributed import (
        init_distributed_environment,
        initialize_model_parallel,
        model_parallel_is_initialized,
    )
    from vllm.utils.network_utils import get_open_port

    if not model_parallel_is_initialized():
        init_distributed_environment(1, 0, f"tcp://127.0.0.1:{get_open_port()}", 0, "gloo")
        initialize_model_parallel(1, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
