"""Score answers by our server, and by the ways that vLLM has for any model, for `internvl3 bench critic`.

Each system works through the rounds {text, image, answers} of a case and counts what every round took. vLLM's
engines run our model class (vLLM's InternVL needs torchvision and has no pooling). So all systems get the
same tokens, and differ only in which of them they compute again.
"""

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from bench.harness.logs import logs_folder
from ttscaling.asking.local_server import serving
from ttscaling.critic_prompt import MINUS, PLUS, critic_prefixes
from ttscaling.types import Conversation

CHECKPOINT = str(Path(__file__).parents[2] / "model/nano/critic")
BLOCK = 32
WINDOW = 8192
TOKENS_PER_TILE = 9
COUNTERS = ("vllm:prompt_tokens", "vllm:prompt_tokens_cached")
Round = Mapping[str, Any]


class Ours:
    """Our server, which first scores the round's answers, and then writes as many with its policy."""

    def prepare(self, case: Mapping[str, Any]) -> Mapping[str, Any]:
        return case

    def work(self, case: Mapping[str, Any]) -> list[dict[str, Any]]:
        flags = ["--max-tiles", str(case["tiles"]), "--max-best-of", str(case["most"])]
        with (
            serving(flags, logs_folder("critic") / "ours.log") as url,
            httpx.Client(base_url=url, timeout=600) as client,
        ):
            return [self._round(client, one) for one in case["rounds"]]

    def summary(self, result: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return result

    def _round(self, client: httpx.Client, question: Round) -> dict[str, Any]:
        messages = _messages(question)
        with _counted(client, "nano-critic") as critic:
            body = {"messages": messages, "answers": question["answers"]}
            scored = _ok(client.post("/v1/critic/score", json=body))
        with _counted(client, "nano") as policy:
            scaling = {"method": "self_consistency", "n": len(question["answers"])}
            chat = {"messages": messages, "test_time_scaling": scaling, "max_tokens": 16, "seed": 1}
            replied = _ok(client.post("/v1/chat/completions", json=chat))
        return {
            "computed": critic["computed"],
            "lengths": [entry["usage"]["prompt_tokens"] for entry in scored["scores"]],
            "policy_computed": policy["computed"],
            "policy_prompt": replied["usage"]["prompt_tokens"],
            "image_tokens": replied["vision"]["tiles"] * TOKENS_PER_TILE,
        }


class _Vllm:
    """vLLM's engine on the critic's checkpoint, in this process, where each answer is one prompt."""

    options: ClassVar[Mapping[str, Any]]

    def prepare(self, case: Mapping[str, Any]) -> tuple[Any, list[list[dict[str, Any]]]]:
        # The engine lives for a few prompts only, so it runs in this process and compiles nothing.
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCH_COMPILE_DISABLE": "1"}
        from vllm import LLM

        llm = LLM(
            CHECKPOINT,
            enforce_eager=True,
            block_size=BLOCK,
            kv_cache_memory_bytes=2**30,
            max_model_len=WINDOW,
            mm_processor_kwargs={"max_dynamic_patch": case["tiles"]},
            disable_log_stats=False,
            **self.options,
        )
        return llm, [_prompts(llm.get_tokenizer(), one) for one in case["rounds"]]

    def work(self, prepared: tuple[Any, list[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
        llm, rounds = prepared
        results = []
        for prompts in rounds:
            before = _totals(llm)
            self.score(llm, prompts)
            sent, cached = (now - then for now, then in zip(_totals(llm), before, strict=True))
            results.append({"computed": sent - cached, "sent": sent})
        return results

    def summary(self, result: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return result

    def score(self, llm: Any, prompts: Sequence[Mapping[str, Any]]) -> None:
        """Have the engine compute what the scores of these prompts need."""
        raise NotImplementedError


class PromptLogprobs(_Vllm):
    """vLLM's `prompt_logprobs`, which are the likeliest tokens at every position of the prompt."""

    options: ClassVar = {"enable_prefix_caching": True}

    def score(self, llm: Any, prompts: Sequence[Mapping[str, Any]]) -> None:
        from vllm import SamplingParams

        llm.generate(prompts, SamplingParams(max_tokens=1, prompt_logprobs=20), use_tqdm=False)


class StepPooling(_Vllm):
    """vLLM's pooling for process reward models, which returns the hidden states at the steps' tags."""

    options: ClassVar = {
        "runner": "pooling",
        "convert": "embed",
        "pooler_config": {"task": "token_embed", "tok_pooling_type": "STEP", "step_tag_id": 0},
        "max_num_batched_tokens": WINDOW,  # STEP pooling can't compute a prompt in pieces.
    }

    def score(self, llm: Any, prompts: Sequence[Mapping[str, Any]]) -> None:
        llm.encode(prompts, pooling_task="token_embed", use_tqdm=False)


class AllPooling(StepPooling):
    """vLLM's pooling of all tokens. Prefix caching is on, but such requests don't read from the cache."""

    options: ClassVar = {
        "runner": "pooling",
        "convert": "embed",
        "pooler_config": {"task": "token_embed", "tok_pooling_type": "ALL"},
        "enable_prefix_caching": True,
    }


class OneToken(_Vllm):
    """One generated token after each step, with both labels' log-probabilities, as our remote critic does.

    Source: ttscaling/remote/critic.py.
    """

    options: ClassVar = {"enable_prefix_caching": True}

    def score(self, llm: Any, prompts: Sequence[Mapping[str, Any]]) -> None:
        from vllm import SamplingParams

        labels = [llm.get_tokenizer().encode(label, add_special_tokens=False)[0] for label in (PLUS, MINUS)]
        params = SamplingParams(max_tokens=1, temperature=0, logprobs=2, logprob_token_ids=labels)
        llm.generate([step for prompt in prompts for step in prompt["steps"]], params, use_tqdm=False)


def conversation_texts(tokenizer: Any, question: Round) -> list[list[str]]:
    """Return, for each answer, the critic's conversation up to each step, with `<image>` for the image.

    nano's critic has no system message.
    """
    content = [{"type": "image"}, {"type": "text", "text": question["text"]}]
    conversation = Conversation(messages=({"role": "user", "content": content},))
    return [
        [
            tokenizer.apply_chat_template(list(prefix), tokenize=False, add_generation_prompt=True)
            for prefix in critic_prefixes(conversation, steps)
        ]
        for steps in question["answers"]
    ]


def _prompts(tokenizer: Any, question: Round) -> list[dict[str, Any]]:
    image = {"image": Image.open(question["image"]).convert("RGB")}
    return [
        {
            "prompt": texts[-1],
            "multi_modal_data": image,
            "steps": [{"prompt": text, "multi_modal_data": image} for text in texts],
        }
        for texts in conversation_texts(tokenizer, question)
    ]


def _messages(question: Round) -> list[dict[str, Any]]:
    url = "data:image/png;base64," + base64.b64encode(Path(question["image"]).read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [image, {"type": "text", "text": question["text"]}]}]


def _ok(reply: httpx.Response) -> dict[str, Any]:
    reply.raise_for_status()
    body: dict[str, Any] = reply.json()
    return body


@contextmanager
def _counted(client: httpx.Client, name: str) -> Iterator[dict[str, int]]:
    """Yield a dictionary whose "computed" is, after the block, how many tokens an engine computed in it."""

    def computed() -> int:
        families = text_string_to_metric_families(client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        prompts, cached = (
            sum(
                sample.value
                for sample in samples
                if sample.name == f"{counter}_total" and sample.labels.get("model_name") == name
            )
            for counter in COUNTERS
        )
        return int(prompts - cached)

    before = computed()
    counts: dict[str, int] = {}
    yield counts
    counts["computed"] = computed() - before


def _totals(llm: Any) -> list[int]:
    values = {metric.name: metric.value for metric in llm.get_metrics() if metric.name in COUNTERS}
    return [int(values[name]) for name in COUNTERS]
