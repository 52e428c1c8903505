"""Translate module names of either checkpoint layout to the names of our modules, for vLLM.

vLLM looks up the parts of a LoRA adapter and the lists in a quantisation config by these names. Weights are
translated by `model.checkpoint.tensors.stream_to_opengvlab`.
"""

import re
from typing import Any

from vllm.model_executor.models.utils import WeightsMapper

from model.checkpoint.tensor_names import opengvlab_name

_SPLIT_QKV = re.compile(r"(vision_model\.encoder\.layers\.\d+\.attn\.)[qkv]_proj\b")


def module_name(name: str) -> str:
    """Return the name of our module, given its name in either layout or in the bare language model.

    The vision tower's q, k and v are one module here, `qkv`.
    """
    if name.startswith("model.layers."):  # The adapter was trained on the bare language model.
        return f"language_model.{name}"
    # The function translates tensor names, in which a dot follows the module's name.
    dotted = opengvlab_name(f"{name}.")
    return _SPLIT_QKV.sub(r"\1qkv", dotted.removesuffix("."))


class CheckpointNameMapper(WeightsMapper):
    """A mapper through which vLLM calls `module_name`.

    It refuses parts of an adapter outside the language model, because vLLM would drop them silently.

    Raises:
        ValueError: an adapter has weights for the vision tower or the projector.
    """

    def _map_name_with_shard(self, key: str) -> tuple[str, Any]:
        name = module_name(key)
        if ".lora_" in key and name.startswith(("vision_model.", "mlp1.")):
            raise ValueError(
                f"the adapter changes {key}, but only adapters of the language model are served: "
                "train it with the vision tower and the projector frozen, or merge it into the checkpoint"
            )
        return name, None
