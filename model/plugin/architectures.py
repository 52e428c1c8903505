"""The architectures that vLLM serves with our classes, as `config.json` names them; no vLLM here."""

_POLICY = ("model.plugin.network.internvl", "InternVLModel")

CRITIC = "InternVLCritic"
"""No published checkpoint's: the same checkpoints, served to judge, are started under this name."""

CRITIC_TASK = "token_classify"
"""The pooling task that vLLM is to run it with."""

CLASSES = {
    "InternVLChatModel": _POLICY,  # OpenGVLab's layout
    "InternVLRewardModel": _POLICY,  # VisualPRM's class upstream; its weights are the chat model's
    "InternVLForConditionalGeneration": _POLICY,  # transformers' layout
    CRITIC: ("model.plugin.network.critic_head", "InternVLCritic"),
}
"""Architecture to the module and class that serve it."""
