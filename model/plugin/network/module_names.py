"""Our modules by the names of either checkpoint layout, for what vLLM looks up by name.

That is the parts of a LoRA adapter and the lists in a quantisation config. Weights have a way of their own:
`weights.stream_to_opengvlab`.
"""

import re
from typing import Any

from vllm.model_executor.models.utils import WeightsMapper

from model.checkpoint.tensor_names import opengvlab_name

_SPLIT_QKV = re.compile(r"(vision_model\.encoder\.layers\.\d+\.attn\.)[qkv]_proj\b")


def module_name(name: str) -> str:
    """Name of one of our modules, given its name in either layout or in the language model alone.

    The vision tower's q, k and v are one module here, `qkv`.
    """
    if name.startswith("model.layers."):  # an adapter that was trained on the bare language model
        return f"language_model.{name}"
    dotted = opengvlab_name(f"{name}.")  # it knows tensors, whose names go on behind the module's
    return _SPLIT_QKV.sub(r"\1qkv", dotted.removesuffix("."))


class CheckpointNameMapper(WeightsMapper):
    """`module_name` in the form that vLLM calls.

    Parts of an adapter outside the language model are refused: vLLM would drop them in silence.

    Raises:
        ValueError: an adapter has weights for the vision tower or the projector.
    """

    def _map_name_with_shard(self, key: str) -> tuple[str, Any]:
        name = module_name(key)
        if ".lora_" in key and name.startswith(("vision_model.", "mlp1.")):
            raise ValueError(
                f"the adapter changes {key}, but only adapters of the language model are served: "
                "train it with vision tower and projector frozen, or merge it into the checkpoint"
            )
        return name, None
