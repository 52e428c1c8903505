"""The architecture names of `config.json` that vLLM serves with our classes, without an import of vLLM."""

_POLICY = ("model.plugin.network.internvl", "InternVLModel")

CRITIC = "InternVLCritic"
"""The architecture of an engine that scores. It serves the same checkpoints; none of them names it."""

CRITIC_TASK = "token_classify"
"""The pooling task that vLLM runs the critic with."""

CLASSES = {
    "InternVLChatModel": _POLICY,  # OpenGVLab's layout
    "InternVLRewardModel": _POLICY,  # VisualPRM's class upstream; its weights are the chat model's
    "InternVLForConditionalGeneration": _POLICY,  # transformers' layout
    CRITIC: ("model.plugin.network.critic_head", "InternVLCritic"),
}
"""The module and the class that serve each architecture."""
