"""InternVL3 as a vLLM model: vision tower, projector, and a language model with V2PE's positions.

The modules have the names of OpenGVLab's layout. The reference for the arithmetic is OpenGVLab/InternVL
`modeling_internvl_chat.py`. The reference for the rotary embedding is OpenGVLab/V2PE `modeling_internlm2.py`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsMRoPE, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.intern_vit import InternVisionModel
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.platforms import current_platform

from model.checkpoint.backbones import head_dim
from model.checkpoint.description import read_checkpoint
from model.checkpoint.quantization import vision_tower_is_unquantized
from model.image_tokens import IMAGE_CONTEXT, VIDEO_TEXT
from model.images.tiling import PIXEL_MEAN, PIXEL_STD
from model.plugin.inputs.processing_info import InternVLDummyInputsBuilder, InternVLProcessingInfo
from model.plugin.inputs.processor import InternVLMultiModalProcessor
from model.plugin.inputs.prompt_positions import prompt_positions

from .checkpoint_loader import CheckpointLoader
from .cpu_sampling import restore_generators
from .language_model import build_language_model
from .module_names import CheckpointNameMapper
from .rotary import V2PERotary
from .start_report import StartReport

_PLACEHOLDERS = {"image": IMAGE_CONTEXT, "video": VIDEO_TEXT}


def pixel_unshuffle(patches_NHWC: torch.Tensor, ratio: float) -> torch.Tensor:
    """Merge blocks of 1/ratio x 1/ratio patches into channels, row by row (published as `ps_version` v2)."""
    n, height, width, channels = patches_NHWC.shape
    k = round(1 / ratio)
    blocks = patches_NHWC.reshape(n, height // k, k, width // k, k, channels).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, height // k, width // k, k * k * channels)


@MULTIMODAL_REGISTRY.register_processor(
    InternVLMultiModalProcessor, info=InternVLProcessingInfo, dummy_inputs=InternVLDummyInputsBuilder
)
class InternVLModel(nn.Module, SupportsMultiModal, SupportsMRoPE, SupportsPP, SupportsLoRA):
    """The model for checkpoints of `InternVLChatModel` and `InternVLForConditionalGeneration`."""

    supports_encoder_tp_data = True  # vLLM's InternViT can distribute tiles over the ranks.
    hf_to_vllm_mapper = CheckpointNameMapper()
    language_model: Any  # An instance of one of vLLM's classes.
    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """Return the placeholder of a modality in a prompt. Raises ValueError for other media."""
        if modality not in _PLACEHOLDERS:
            raise ValueError(f"InternVL takes images and videos, not {modality}: remove it from the request")
        return _PLACEHOLDERS[modality]

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        if vllm_config.model_config.enable_prompt_embeds:
            raise ValueError(
                "enable_prompt_embeds isn't supported, because V2PE has to know which tokens are visual. "
                "Turn it off, and send text and pixels"
            )
        if current_platform.is_cpu():
            from vllm.v1.worker.cpu_model_runner import CPUModelRunner

            restore_generators(CPUModelRunner)
        config = vllm_config.model_config.hf_config
        checkpoint = read_checkpoint(config, vllm_config.model_config.hf_image_processor_config)
        self.config = config
        self.downsample_ratio = checkpoint.downsample_ratio
        self.transposes_tiles = checkpoint.transposes_tiles
        merged = checkpoint.vision.hidden_size * round(1 / checkpoint.downsample_ratio) ** 2
        hidden = config.text_config.hidden_size
        with self._mark_tower_model(vllm_config, set(_PLACEHOLDERS)):  # type: ignore[operator]
            self.vision_model = InternVisionModel(
                checkpoint.vision,
                quant_config=None if vision_tower_is_unquantized(config) else vllm_config.quant_config,
                prefix=maybe_prefix(prefix, "vision_model"),
            )
            self.mlp1 = nn.Sequential(
                nn.LayerNorm(merged), nn.Linear(merged, hidden), nn.GELU(), nn.Linear(hidden, hidden)
            )
        with self._mark_language_model(vllm_config):  # type: ignore[operator]
            self.language_model = build_language_model(
                vllm_config, config.text_config, maybe_prefix(prefix, "language_model")
            )
        text = config.text_config
        rotary = V2PERotary(head_dim(text), text.rope_parameters["rope_theta"])
        for module in list(self.language_model.modules()):
            if hasattr(module, "rotary_emb"):
                module.rotary_emb = rotary
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN, dtype=torch.float32), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD, dtype=torch.float32), persistent=False)
        self._checkpoint_loader = CheckpointLoader(self)
        self._start_report = StartReport(vllm_config)
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[torch.Tensor, int]:
        """Return the result of `prompt_positions` with the encoded positions (3, T) as a tensor."""
        rows_3T, offset = prompt_positions(len(input_tokens), mm_features)
        return torch.from_numpy(rows_3T), offset

    def embed_multimodal(self, **kwargs: Any) -> tuple[torch.Tensor, ...]:
        """Return the embeddings (tokens, hidden) of each image, or of each frame of the videos.

        Args:
            kwargs: uint8 `image_tiles` (tiles, side, side, 3) and `image_num_tiles`, or `video_tiles` and
                `video_num_tiles`. vLLM calls with one modality at a time.
        """
        embeddings: list[torch.Tensor] = []
        for modality in _PLACEHOLDERS:
            if f"{modality}_tiles" in kwargs:
                tiles_NPD = self.mlp1(self._vision_features(kwargs[f"{modality}_tiles"]))
                sizes = kwargs[f"{modality}_num_tiles"].flatten().tolist()
                embeddings += [item.flatten(0, 1) for item in tiles_NPD.split(sizes)]
        return tuple(embeddings)

    def _vision_features(self, tiles_NHWC: torch.Tensor) -> torch.Tensor:
        pixels_NHWC = (tiles_NHWC.to(torch.float32) / 255 - self.pixel_mean) / self.pixel_std
        patches_NPC = self.vision_model(pixels_NHWC.permute(0, 3, 1, 2))[:, 1:]  # Drops the class token.
        side = round(patches_NPC.shape[1] ** 0.5)
        patches_NHWC = patches_NPC.unflatten(1, (side, side))
        merged_NHWC = pixel_unshuffle(patches_NHWC, self.downsample_ratio)
        if self.transposes_tiles:
            merged_NHWC = merged_NHWC.transpose(1, 2)
        return merged_NHWC.flatten(1, 2)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: object,
    ) -> Any:
        return self.language_model.model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        return self.language_model.compute_logits(hidden_states)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Return which modules form the model's three parts, for LoRA."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="mlp1", tower_model="vision_model"
        )

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load a checkpoint, or a part of it, as `CheckpointLoader.load` does, which says what is raised."""
        is_first = self.training  # vLLM puts the model into evaluation mode after it
        loaded = self._checkpoint_loader.load(weights)
        if is_first:
            self._start_report.loaded(self)
        return loaded
