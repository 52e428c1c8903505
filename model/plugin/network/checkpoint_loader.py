"""Load a checkpoint into the network: all of it at the start, and any part of it later.

Trainers (TRL, verl, OpenRLHF) send new weights to a running engine in buckets, one call for each. So only the
first load, which vLLM makes before it puts the model into evaluation mode, has to be complete. A part that
vLLM doesn't build (`--mm-encoder-only`, `--limit-mm-per-prompt` with zeros) needs no tensors.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from vllm.model_executor.models.utils import AutoWeightsLoader, PPMissingLayer, StageMissingLayer

from model.checkpoint.missing import missing_from
from model.checkpoint.tensor_names import opengvlab_name, vision_layer
from model.checkpoint.tensors import stream_to_opengvlab

_LM_HEAD = "language_model.lm_head.weight"
_EMBEDDINGS = "language_model.model.embed_tokens.weight"


class CheckpointLoader:
    """Loads tensors into one model, and remembers what the next call needs to know."""

    def __init__(self, model: Any) -> None:
        """Keep the model, an `InternVLModel`."""
        self._model = model
        self._waiting: dict[str, dict[str, torch.Tensor]] = {}  # q, k and v whose layer isn't complete yet
        self._has_own_head = False

    def load(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load tensors of either layout, and return the names of those that were loaded.

        vLLM would serve random numbers for an unquantised weight that the checkpoint lacks, so the first load
        checks for missing tensors. The output head is tied only if the checkpoint has none, because
        transformers' configs say "tied" by default, even for models that aren't tied.

        Raises:
            ValueError: tensors are missing in the first load; the message names them.
        """
        model, is_first = self._model, self._model.training
        names: set[str] = set()
        embeddings: list[torch.Tensor] = []

        def record_names() -> Iterator[tuple[str, torch.Tensor]]:
            for name, tensor in weights:
                names.add(name)
                yield name, tensor

        def keep_embeddings() -> Iterator[tuple[str, torch.Tensor]]:
            waiting = None if is_first else self._waiting
            for name, tensor in stream_to_opengvlab(record_names(), model.config.text_config, waiting):
                if name == _EMBEDDINGS:
                    embeddings.append(tensor)
                if not self._is_unused(name):
                    yield name, tensor

        loaded = AutoWeightsLoader(model).load_weights(keep_embeddings())
        if is_first:
            missing = [name for name in missing_from(model.config, names) if self._is_built(name)]
            if missing:
                raise ValueError(f"the checkpoint lacks {', '.join(missing)}")
        self._has_own_head |= _LM_HEAD in loaded
        if model.config.tie_word_embeddings and not self._has_own_head and embeddings:
            loaded |= self._tie_head(embeddings[0], share=is_first)
        return loaded

    def _is_unused(self, name: str) -> bool:
        """Return whether a tensor belongs to a layer of the vision tower that never runs."""
        layer, tower = vision_layer(name), self._model.vision_model
        return (
            layer is not None
            and not isinstance(tower, StageMissingLayer)
            and layer >= len(tower.encoder.layers)
        )

    def _is_built(self, name: str) -> bool:
        part = opengvlab_name(name).partition(".")[0]
        return not isinstance(getattr(self._model, part), StageMissingLayer)

    def _tie_head(self, embedding_VD: torch.Tensor, *, share: bool) -> set[str]:
        """Give the output head the embeddings, and return the names of the tensors that this loads.

        With pipeline parallelism only the last rank has a head, and only the first has embeddings.

        Args:
            share: whether head and embeddings may become one tensor. A running engine's may not, because its
                CUDA graphs read the head where it lies.
        """
        language_model = self._model.language_model
        if isinstance(language_model, StageMissingLayer) or isinstance(
            language_model.lm_head, PPMissingLayer
        ):
            return set()
        body_embeddings, weight = language_model.model.embed_tokens, language_model.lm_head.weight
        if share and not isinstance(body_embeddings, PPMissingLayer):
            language_model.lm_head = language_model.lm_head.tie_weights(body_embeddings)
        elif isinstance(body_embeddings, PPMissingLayer) or weight is not body_embeddings.weight:
            weight.weight_loader(weight, embedding_VD)
        return {_LM_HEAD}
