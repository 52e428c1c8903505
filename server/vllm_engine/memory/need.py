"""Estimate the memory that an engine needs on each of its GPUs, from its checkpoint and its settings.

Weights, LoRA slots and key-value cache are exact arithmetic. The other two figures are estimates, which no
GPU has confirmed yet:

- `working` is what vLLM measures in its profile run: the activations of one step of the language model, the
  logits of all sequences, and the activations of the vision tower. The formula gives 1.2 GiB for Llama-3-8B,
  where vLLM measured 1.26 GiB (vllm-project/vllm pull request 10511).
- `GRAPHS` stands for CUDA graphs and the workspaces of kernels.

The CUDA contexts and NCCL's buffers exist before vLLM begins to measure (`vllm/v1/worker/gpu_worker.py`,
`init_device`). They take what no engine gets.
"""

from dataclasses import dataclass

import transformers

from model.checkpoint.backbones import head_dim
from model.checkpoint.parameters import PartSizes
from model.checkpoint.quantization import is_quantized, weight_format
from server.errors import StartupError

GIB = 2**30
GRAPHS = 3 * GIB // 2


@dataclass(frozen=True, kw_only=True, eq=False)  # plans are told apart by identity
class EnginePlan:
    """An engine that is to start, and all that decides how much memory it needs."""

    title: str  # "policy" or "critic"
    name: str
    config: transformers.InternVLConfig
    weights: PartSizes  # bytes
    window: int  # tokens of the longest sequence, of which the cache must hold one
    devices: tuple[int, ...]  # the GPU of each rank
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    splits_vision: bool = True  # false if each rank has the whole vision tower (mm_encoder_tp_mode "data")
    width: int = 2  # bytes of an activation
    cache_width: int = 2  # bytes of a number in the key-value cache
    batched_tokens: int = 8192  # the most tokens of one step, and of the images that are encoded at once
    sequences: int = 1024  # the most sequences of one step
    tokens_per_tile: int = 256
    adapter_ranks: int = 0  # LoRA slots times the rank of each
    cache_bytes: int | None = None  # the operator's --kv-cache-memory-bytes
    share: float | None = None  # the operator's --gpu-memory-utilization

    @property
    def grows(self) -> bool:
        """Whether the engine's cache takes more memory if there is more."""
        return self.share is None and self.cache_bytes is None


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """The least memory that an engine needs on each of its GPUs, in bytes."""

    weights: int
    cache: int
    working: int

    @property
    def total(self) -> int:
        """The sum, with CUDA graphs and workspaces."""
        return self.weights + self.cache + self.working + GRAPHS


def memory_need(plan: EnginePlan) -> MemoryNeed:
    """Return what the engine needs on that one of its GPUs that needs most.

    Raises StartupError if quantised weights can't be split as the plan says.
    """
    require_whole_groups(plan.title, plan.name, plan.config, plan.tensor_parallel)
    return MemoryNeed(
        weights=_weights(plan) + _adapters(plan),
        cache=_cache(plan) if plan.cache_bytes is None else plan.cache_bytes,
        working=_working(plan),
    )


def require_whole_groups(title: str, name: str, config: transformers.InternVLConfig, ranks: int) -> None:
    """Raise StartupError if tensor parallelism over `ranks` GPUs would cut groups of quantised weights.

    vLLM refuses such weights too, but only while it loads them.
    """
    text = config.text_config
    group = weight_format(config).group_size if is_quantized(config) else 0
    if ranks == 1 or group == 0:
        return
    for rows in (text.intermediate_size, text.num_attention_heads * head_dim(text)):
        if rows % (ranks * group):
            raise StartupError(
                f"the {title} {name} can't be split by --tensor-parallel-size {ranks}, because its {rows} "
                f"quantised rows are {rows // group} groups of {group}: use --{title}-args "
                f"'--pipeline-parallel-size {ranks}' instead"
            )


def _weights(plan: EnginePlan) -> int:
    """Return the weights of the pipeline stage that has most of them.

    Every stage has the vision tower and the projector. The first has the embeddings and the last the head, or
    the embeddings once more if the head is tied to them.
    """
    ranks, stages, weights = plan.tensor_parallel, plan.pipeline_parallel, plan.weights
    vision, vision_ranks = plan.config.vision_config, ranks if plan.splits_vision else 1
    # vLLM's InternViT splits its MLP over the ranks, and its attention only if the heads divide.
    attention = 4 * vision.hidden_size / (4 * vision.hidden_size + 2 * vision.intermediate_size)
    attention_ranks = vision_ranks if vision.num_attention_heads % vision_ranks == 0 else 1
    tower = weights.vision * (attention / attention_ranks + (1 - attention) / vision_ranks)
    ends = weights.embeddings + weights.head
    if stages > 1:
        ends = max(weights.embeddings, weights.head)
    return round(tower + weights.projector + (weights.layers * _layers(plan) + ends) / ranks)


def _adapters(plan: EnginePlan) -> int:
    """Return the LoRA slots of the language model's layers. vLLM holds them even if no adapter is loaded.

    The two matrices of a linear layer have the rank times its inputs and its outputs. Tensor parallelism
    splits the outputs of queries, keys, values, gate and up, and the inputs of the other two layers
    (`vllm/lora/layers`).
    """
    text, ranks = plan.config.text_config, plan.tensor_parallel
    heads, groups = text.num_attention_heads * head_dim(text), text.num_key_value_heads * head_dim(text)
    split = 2 * heads + 2 * groups + 3 * text.intermediate_size
    whole = (3 + 1 + 2 + 1) * text.hidden_size
    layers = text.num_hidden_layers * _layers(plan)
    return round(plan.adapter_ranks * layers * (whole + split / ranks) * plan.width)


def _layers(plan: EnginePlan) -> float:
    """Return the share of the language model's layers that the largest pipeline stage has."""
    layers: int = plan.config.text_config.num_hidden_layers
    return -(-layers // plan.pipeline_parallel) / layers


def _cache(plan: EnginePlan) -> int:
    """Return the keys and values of one sequence as long as the window."""
    text = plan.config.text_config
    heads = max(1, text.num_key_value_heads // plan.tensor_parallel)
    layers = round(text.num_hidden_layers * _layers(plan))
    return 2 * layers * heads * head_dim(text) * plan.window * plan.cache_width


def _working(plan: EnginePlan) -> int:
    text, vision, ranks = plan.config.text_config, plan.config.vision_config, plan.tensor_parallel
    heads = (text.num_attention_heads + 2 * text.num_key_value_heads) * head_dim(text)
    # Residual, norm and output of a layer; queries, keys and values; gate, up and their product.
    language = plan.batched_tokens * (3 * text.hidden_size + (heads + 3 * text.intermediate_size) / ranks)
    patches = (vision.image_size[0] // vision.patch_size[0]) ** 2 + 1
    tiles = plan.batched_tokens / plan.tokens_per_tile
    # Residual, norm, queries, keys, values and output of a layer; the MLP before and after its activation.
    tower = tiles * patches * (6 * vision.hidden_size + 2 * vision.intermediate_size)
    pixels = tiles * 3 * vision.image_size[0] ** 2 * 4
    logits = plan.sequences * text.vocab_size * 2 * 4  # fp32, and one copy for sampling
    return round(plan.width * (language + tower) + pixels + logits)
