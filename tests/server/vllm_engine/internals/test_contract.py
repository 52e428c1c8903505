"""Each thing of vLLM's insides that the server needs is there, or a sentence says that it is gone."""

import ast
from pathlib import Path

import pytest
from vllm.v1.engine.output_processor import RequestState

from server.vllm_engine.internals import messages
from tests.vllm_contract import Need, has_name

FOLDER = Path("server/vllm_engine")
CLIENT = "vllm.v1.engine.async_llm.AsyncLLM"
CORE = "vllm.v1.engine.core_client"
OUTPUTS = "vllm.v1.engine.output_processor"
CHAT = "vllm.entrypoints.openai.chat_completion.serving.OpenAIServingChat"
COMPLETIONS = "vllm.entrypoints.openai.completion.serving.OpenAIServingCompletion"
MESSAGES = "vllm.entrypoints.anthropic.serving.AnthropicServingMessages"
RENDERER = "vllm.renderers.base.BaseRenderer"
CACHE = "vllm.multimodal.cache.base.BaseMultiModalProcessorCache"
LOGGER = "vllm.v1.metrics.loggers.PrometheusStatLogger"
STEPS = "notice that an engine hangs"
COUNT = "count the tokens of every output"
PARSE = "read a candidate's tool calls before it is chosen"
ASK = "send each request through clients of its own"
MEDIA = "change the media cache in one thread alone"
METRICS = "keep the metrics of two engines apart"
NAMES = [
    Need(owner=CLIENT, name="engine_core", purpose="log the process of each engine"),
    Need(owner=f"{CORE}.MPClient", name="resources", purpose="log the process of each engine"),
    Need(
        owner=f"{CORE}.BackgroundResources", name="engine_manager", purpose="log the process of each engine"
    ),
    Need(
        owner="vllm.v1.engine.utils.CoreEngineProcManager",
        name="processes",
        purpose="log the process of each engine",
    ),
    Need(owner=CLIENT, name="output_processor", purpose=COUNT),
    Need(
        owner=f"{OUTPUTS}.OutputProcessor",
        name="_update_stats_from_output",
        purpose=COUNT,
        parameters=("req_state", "engine_core_output"),
    ),
    Need(owner=f"{OUTPUTS}.RequestState", name="external_req_id", purpose=COUNT),
    Need(owner=f"{OUTPUTS}.RequestState", name="is_prefilling", purpose=COUNT),
    Need(owner="vllm.v1.engine.EngineCoreOutput", name="new_token_ids", purpose=COUNT),
    Need(owner="vllm.v1.engine.EngineCoreOutput", name="prefill_stats", purpose=COUNT),
    Need(owner="vllm.v1.metrics.stats.PrefillStats", name="num_prompt_tokens", purpose=COUNT),
    Need(owner="vllm.v1.metrics.stats.PrefillStats", name="num_cached_tokens", purpose=COUNT),
    Need(
        owner=f"{OUTPUTS}.OutputProcessor",
        name="update_scheduler_stats",
        purpose=STEPS,
        parameters=("scheduler_stats",),
    ),
    Need(owner=f"{OUTPUTS}.OutputProcessor", name="get_num_unfinished_requests", purpose=STEPS),
    Need(owner=f"{CORE}.MPClient", name="is_sleeping_async", purpose=STEPS),
    Need(owner=CHAT, name="engine_client", purpose=ASK),
    Need(
        owner=CHAT,
        name="_create_chat_logprobs",
        purpose="make many log-probabilities without keeping other requests waiting",
        parameters=("token_ids", "top_logprobs"),
    ),
    Need(owner=COMPLETIONS, name="engine_client", purpose=ASK),
    Need(owner=CHAT, name="parser_cls", purpose=PARSE),
    Need(owner=CHAT, name="enable_auto_tools", purpose=PARSE),
    Need(owner=CHAT, name="_effective_chat_template_kwargs", purpose=PARSE, parameters=("request",)),
    Need(
        owner=CHAT,
        name="_make_parser",
        purpose=PARSE,
        parameters=("request", "tokenizer", "chat_template_kwargs"),
    ),
    Need(owner=MESSAGES, name="_merge_inline_system", purpose="convert a Messages request as vLLM does"),
    Need(owner=RENDERER, name="mm_processor_cache", purpose=MEDIA),
    Need(owner=RENDERER, name="_mm_executor", purpose=MEDIA),
    Need(
        owner=CACHE,
        name="invalidate",
        purpose=MEDIA,
        parameters=("mm_hash",),
    ),
    Need(owner=CACHE, name="touch_sender_cache_item", purpose=MEDIA, parameters=("mm_hash",)),
    Need(owner=LOGGER, name="_gauge_cls", purpose=METRICS),
    Need(owner=LOGGER, name="_counter_cls", purpose=METRICS),
    Need(owner=LOGGER, name="_histogram_cls", purpose=METRICS),
    Need(
        owner="vllm.sampling_params.SamplingParams",
        name="_validate_structured_outputs",
        purpose="refuse a grammar as the engine does",
        parameters=("model_config", "structured_outputs_config", "tokenizer"),
    ),
    Need(
        owner="vllm.sampling_params.StructuredOutputsParams",
        name="_backend",
        purpose="compile a grammar with the backend of the engine",
    ),
]
WORDS = "reply with a code or an advice of its own"
TEXTS = [
    Need(owner="vllm.v1.engine.exceptions", name=messages.ENGINE_DIED, purpose=WORDS, is_text=True),
    Need(owner="vllm.renderers.params", name=messages.PROMPT_TOO_LONG, purpose=WORDS, is_text=True),
    Need(owner="vllm.renderers.online_renderer", name=messages.NO_TOOL_PARSER, purpose=WORDS, is_text=True),
    Need(owner="vllm.renderers.online_renderer", name=messages.TEMPLATE_REFUSED, purpose=WORDS, is_text=True),
    Need(owner="vllm.sampling_params", name=messages.DEEP_SCHEMA, purpose=WORDS, is_text=True),
    Need(owner="vllm.v1.engine.core", name=messages.CALL_FAILED, purpose=WORDS, is_text=True),
    # What follows is the KeyError that the message quotes.
    Need(
        owner="vllm.v1.structured_output.backend_guidance",
        name="Invalid grammar specification: ",
        purpose=WORDS,
        is_text=True,
    ),
    # The source breaks its line behind the first of these words.
    Need(owner="vllm.sampling_params", name="structured outputs constraint ", purpose=WORDS, is_text=True),
    Need(owner="vllm.sampling_params", name="but multiple are specified", purpose=WORDS, is_text=True),
]


@pytest.mark.parametrize(
    "need", [*NAMES, *TEXTS], ids=lambda need: f"{need.owner.rpartition('.')[2]}.{need.name}"
)
def test_vllm_has_what_the_server_needs_of_its_insides(need: Need):
    assert need.problem is None, need.problem


def test_every_text_is_looked_for():
    texts = {value for name, value in vars(messages).items() if name.isupper()}
    pieces = [need.name for need in TEXTS[:-2]]
    others = {text for text in texts if not text.startswith(tuple(pieces))}
    assert others == {messages.SEVERAL_CONSTRAINTS} and len(pieces) == len(texts) - 1
    first, second = (need.name for need in TEXTS[-2:])
    assert messages.SEVERAL_CONSTRAINTS in first + second


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (
            Need(owner=CHAT, name="_gone", purpose=PARSE),
            "has no .*OpenAIServingChat._gone any more; .* tool calls",
        ),
        (Need(owner="vllm.gone.Gone", name="x", purpose=ASK), "has no vllm.gone.Gone any more"),
        (Need(owner=f"{OUTPUTS}.Gone", name="x", purpose=ASK), "has no .*Gone any more"),
        (
            Need(owner=CHAT, name="_make_parser", purpose=PARSE, parameters=("prompt",)),
            "gives .*_make_parser the parameters .*request",
        ),
        (Need(owner="vllm.sampling_params", name="gone " * 3, purpose=WORDS, is_text=True), 'writes "gone'),
    ],
)
def test_what_is_gone_has_a_sentence(need: Need, words: str):
    assert need.problem is not None
    with pytest.raises(AssertionError, match=rf"^vLLM [\d.]+ {words}"):
        raise AssertionError(need.problem)


def test_an_attribute_is_one_that_a_class_names_or_sets():
    assert has_name(RequestState, "is_prefilling") and not has_name(RequestState, "is_prefill")


def test_no_other_file_reads_private_names():
    """A private name of another object stands only in the folder that this test is about."""
    found = []
    for file in FOLDER.rglob("*.py"):
        if file.parent.name == "internals":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
            ):
                of = ast.unparse(node.value)
                if of not in ("self", "cls", "os", "parser") and not of.startswith("super("):
                    found.append(f"{file}: {of}.{node.attr}")
    assert found == []
