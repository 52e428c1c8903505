"""Find the tensors that a checkpoint lacks, before an engine starts on it.

The engine refuses an incomplete checkpoint too (`InternVLModel.load_weights`). But it does so half a minute
later, in a child process and with pages of traceback.
"""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from .config import InternVLChatConfig, InternVLConfig
from .description import num_vision_layers, require_v2pe
from .quantization import is_quantized
from .tensor_names import internlm2_name, is_internlm2, opengvlab_name, transformers_name
from .tensors import to_opengvlab

# The tensor that holds a quantised weight, and the tensor with its scales: AWQ and GPTQ; compressed-tensors.
_SCALES = {"qweight": "scales", "weight_packed": "weight_scale"}
_OUTPUT_HEADS = {"lm_head.weight", "language_model.lm_head.weight", "language_model.output.weight"}
_MOST_NAMES = 8  # More names would hide the rest of an error message.


def require_tensors(directory: Path) -> None:
    """Raise ValueError unless a checkpoint's safetensors files hold every tensor of its model.

    Only the headers of the files are read. A checkpoint in another file format passes, because the engine
    checks it while it loads.

    Raises:
        ValueError: tensors are missing, a file is damaged, or V2PE isn't available for the checkpoint. The
            message is one line, with the first few names or the name of the file.
        FileNotFoundError: there is no `config.json`.
    """
    content = _read_json(directory / "config.json")
    kind = InternVLChatConfig if "llm_config" in content else InternVLConfig
    config = kind.from_pretrained(directory)
    require_v2pe(config)
    names = [name for path in sorted(directory.glob("*.safetensors")) for name in _tensor_names(path)]
    if not names:
        return
    missing = missing_from(config, names)
    if missing:
        first_names = ", ".join(missing[:_MOST_NAMES])
        more = f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
        raise ValueError(
            f"the checkpoint in {directory} lacks {first_names}{more}: copy or download its files again"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): copy or download it again") from None
    return config


def _tensor_names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except SafetensorError as error:  # for example, half a file, or a pointer of Git LFS in its place
        raise ValueError(f"{path} is damaged ({error}): copy or download it again") from None


def missing_tensors(config: transformers.InternVLConfig, names: Iterable[str]) -> list[str]:
    """Return the names of the tensors that an unquantised checkpoint lacks, sorted.

    They are the names of the checkpoint's layout. The output head may be absent where the config ties it to
    the embeddings, and so may layers of the vision tower that never run.

    Args:
        config: the model's config. Its modules are built without memory, to list the tensors they need.
        names: the tensors of the checkpoint, named in any layout.
    """
    found = set(names)
    config = copy.deepcopy(config)
    config.vision_config.num_hidden_layers = num_vision_layers(config)
    with torch.device("meta"):
        state = transformers.InternVLForConditionalGeneration(config).state_dict()
    if any(name.startswith(("vision_model.", "mlp1.")) for name in found):
        required = set(to_opengvlab(state))
        if any(is_internlm2(name) for name in found):
            required = {internlm2_name(name) for name in required}
    else:
        required = set(state)
        found = {transformers_name(opengvlab_name(name)) for name in found}
    return sorted(required - found - (_OUTPUT_HEADS if config.tie_word_embeddings else set()))


def missing_from(config: transformers.InternVLConfig, names: Iterable[str]) -> list[str]:
    """Return the names of the tensors that a checkpoint lacks, sorted, in the checkpoint's layout.

    A quantised checkpoint may hold a weight under another name than `weight`. Such a tensor counts as the
    weight, and its scales must be there too. vLLM has no such check for quantised checkpoints.

    Args:
        config: the checkpoint's config.
        names: the tensors of the checkpoint, named in any layout.
    """
    found = set(names)
    if not is_quantized(config):
        return missing_tensors(config, found)
    split = [name.rpartition(".") for name in found]
    weights = {f"{module}.weight" for module, _, kind in split if kind in _SCALES}
    scales = {f"{module}.{_SCALES[kind]}" for module, _, kind in split if kind in _SCALES}
    return sorted([*missing_tensors(config, found | weights), *(scales - found)])
