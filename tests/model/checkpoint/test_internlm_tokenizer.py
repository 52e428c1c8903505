"""InternLM's tokenizers agree with sentencepiece, on real model files and on small ones that it trains."""

import gettext
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pycountry
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.decoders import DecodeStream
from transformers import AutoTokenizer

from model.checkpoint.internlm_tokenizer import InternLM2Tokenizer, InternLM3Tokenizer, register_tokenizers
from model.image_tokens import image_tokens
from tests.published import published
from tests.sentencepiece_tokenizers import WORDS, Kind, SmallTokenizer, write_tokenizer

REPOSITORY = Path(__file__).parents[3]
BREAKS = [" ", "  ", "     ", "\n", "\t", "é", "😀", "\0", "▁", "t", "th", "cou", "<0x0A>", "[UNUSED_TOKEN_"]
Small = Callable[[Kind, bool], SmallTokenizer]
REAL = {"internlm3-8b-instruct": InternLM3Tokenizer, "InternVL2-2B": InternLM2Tokenizer}
CHINESE = """
这台服务器回答关于图像和视频的问题，接口与 OpenAI 的相同。
一张大图会被切成若干个 448×448 的小块，再加上一张缩略图；每个小块占 256 个视觉标记。
视觉标记的位置增量可以在推理时选择：1、1/2、1/4，一直到 1/256。
如果上下文太长，就把增量调小一些，这样更多的图像可以放进同一个窗口。
“最佳 N 选一”先采样 N 个候选答案，再由评分模型逐步打分，最后返回得分最高的那一个。
评分模型阅读问题、图像和答案的每一段，并给出该步骤正确的概率。
小明有３个苹果，妈妈又给了他５个，他一共有多少个？答：３＋５＝８（个）。
春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。
《红楼梦》第一回：甄士隐梦幻识通灵　贾雨村风尘怀闺秀
GQA 是什么？它和 MHA、MQA 有什么区别？请用中文回答，不超过一百字。
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    register_tokenizers()
    folder = tmp_path_factory.mktemp("tokenizers")
    trained = {
        (kind, prefix): write_tokenizer(folder / f"{kind}-{prefix}", kind, dummy_prefix=prefix)
        for kind in get_args(Kind)
        for prefix in (False, True)
    }
    return lambda kind, prefix: trained[kind, prefix]


each_kind = pytest.mark.parametrize("kind", get_args(Kind))
each_prefix = pytest.mark.parametrize("dummy_prefix", [False, True])


@each_kind
@each_prefix
def test_text_is_divided_as_sentencepiece_divides_it(kind: Kind, dummy_prefix: bool, small: Small):
    files = small(kind, dummy_prefix)
    tokenizer: Any = AutoTokenizer.from_pretrained(files.directory)
    oracle = files.oracle
    assert type(tokenizer).__name__ == kind

    @given(st.lists(st.sampled_from(WORDS + BREAKS) | st.text(max_size=5), max_size=20).map("".join))
    def check(text: str) -> None:
        ids = oracle.encode(text)
        assert tokenizer.encode(text, add_special_tokens=False) == ids
        assert tokenizer.decode(ids) == text.replace("▁", " ")
        assert streamed(tokenizer, ids) == text.replace("▁", " ")

    check()


def test_the_longest_piece_is_taken_where_merging_would_take_another(small: Small):
    tokenizer: Any = AutoTokenizer.from_pretrained(small("InternLM3Tokenizer", False).directory)
    merging: Any = AutoTokenizer.from_pretrained(small("InternLM2Tokenizer", False).directory)
    assert tokenizer.tokenize("tstep") == ["ts", "te", "p"]
    assert merging.tokenize("tstep") == ["t", "step"]


@each_kind
@each_prefix
def test_each_text_between_special_tokens_is_divided_alone(kind: Kind, dummy_prefix: bool, small: Small):
    files = small(kind, dummy_prefix)
    tokenizer: Any = AutoTokenizer.from_pretrained(files.directory)
    between = files.oracle.encode("user\nthe quick fox")
    start, end = files.ids["<|im_start|>"], files.ids["<|im_end|>"]
    assert tokenizer.encode("<|im_start|>user\nthe quick fox<|im_end|>") == [1, start, *between, end]


@each_kind
def test_training_loads_the_same_tokenizer_where_nothing_else_has_registered_it(kind: Kind, small: Small):
    """Training loads no plugin of vLLM. So this runs in a process of its own."""
    files, text = small(kind, False), "tstep 你好"
    code = "import sys; from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer; "
    code += "print(checkpoint_tokenizer(sys.argv[1]).encode(sys.argv[2], add_special_tokens=False))"
    command = [sys.executable, "-c", code, str(files.directory), text]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout) == files.oracle.encode(text)


@each_kind
def test_the_name_of_a_special_token_can_be_encoded_as_text(kind: Kind, small: Small):
    files = small(kind, False)
    tokenizer: Any = AutoTokenizer.from_pretrained(files.directory)
    text = "the <|im_end|><s>[UNUSED_TOKEN_145]"
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert not {*files.ids.values(), 0, 1, 2} & set(ids)
    assert tokenizer.decode(ids) == text


@each_kind
def test_the_chats_tokens_keep_their_published_ids(kind: Kind, small: Small):
    files = small(kind, False)
    tokenizer = AutoTokenizer.from_pretrained(files.directory)
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in files.ids} == files.ids
    assert len(tokenizer) == 343
    assert image_tokens(tokenizer).context == 342
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


@each_kind
@each_prefix
def test_a_saved_tokenizer_is_the_same(kind: Kind, dummy_prefix: bool, small: Small, tmp_path: Path):
    files = small(kind, dummy_prefix)
    tokenizer = AutoTokenizer.from_pretrained(files.directory)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["add_prefix_space"] is dummy_prefix
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(tokenizer)
    for text in ("<|im_start|>the quick", "fox  the[UNUSED_TOKEN_145]<s>", " 你好😀", ""):
        for split in (False, True):
            encodings = [each.encode(text, split_special_tokens=split) for each in (tokenizer, again)]
            assert encodings[0] == encodings[1]
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_a_token_knows_its_place_in_the_text(small: Small):
    tokenizer = AutoTokenizer.from_pretrained(small("InternLM3Tokenizer", False).directory)
    text = "the 😀fox"
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    places = dict(zip(encoding.tokens(), encoding["offset_mapping"], strict=True))
    assert "".join(dict.fromkeys(text[start:end] for start, end in encoding["offset_mapping"])) == text
    assert places["<0xF0>"] == places["<0x80>"] == (4, 5)


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "\0" * 200_000, "你" * 200_000, " " * 200_000, "cou" * 60_000]
)
def test_long_hostile_texts_end(text: str, small: Small):
    """A search whose time grows with the square of the text's length would take hours here."""
    files = small("InternLM3Tokenizer", False)
    tokenizer: Any = AutoTokenizer.from_pretrained(files.directory)
    assert tokenizer.encode(text, add_special_tokens=False) == files.oracle.encode(text)


@pytest.mark.parametrize("name", REAL)
def test_the_real_tokenizer_divides_english_code_and_chinese_as_sentencepiece_does(name: str):
    folder = published(name)
    tokenizer: Any = REAL[name].from_pretrained(folder)
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    lines = [*(REPOSITORY / "README.md").read_text().splitlines(), *CHINESE.splitlines(), *chinese_names()]
    lines += (REPOSITORY / "model/image_tokens.py").read_text().splitlines()
    lines = [line for line in lines if not any(token in line for token in tokenizer.get_added_vocab())]
    differing = [
        line for line in lines if tokenizer.encode(line, add_special_tokens=False) != oracle.encode(line)
    ]
    assert len(lines) > 4000
    assert differing == []


@pytest.mark.parametrize("name", REAL)
def test_the_real_tokenizer_divides_any_text_as_sentencepiece_does(name: str):
    folder = published(name)
    tokenizer: Any = REAL[name].from_pretrained(folder)
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = st.integers(300, 90_000).map(oracle.id_to_piece)

    @given(
        st.lists(pieces | pieces.map(lambda piece: piece[:-1]) | st.text(max_size=5), max_size=12).map(
            "".join
        )
    )
    def check(text: str) -> None:
        if "\0" not in text and not any(token in text for token in tokenizer.get_added_vocab()):
            ids = oracle.encode(text)
            assert tokenizer.encode(text, add_special_tokens=False) == ids
            assert streamed(tokenizer, ids) == tokenizer.decode(ids) == text.replace("▁", " ")

    check()


def streamed(tokenizer: Any, ids: list[int]) -> str:
    """Return the text of ids that arrive one by one, as vLLM's engine decodes an answer."""
    stream = DecodeStream(skip_special_tokens=True)
    return "".join(stream.step(tokenizer.backend_tokenizer, token) or "" for token in ids)


def chinese_names() -> list[str]:
    """Return the Chinese names of countries, regions and languages, which a package brings."""
    folder = Path(pycountry.__file__).parent / "locales"
    domains = ("iso3166-1", "iso3166-2", "iso639-3")
    catalogs = [gettext.translation(domain, folder, ["zh_CN"]) for domain in domains]
    names = [entry.name for group in (pycountry.countries, pycountry.languages) for entry in group]
    names += [entry.name for entry in pycountry.subdivisions]
    found = (catalog.gettext(name) for catalog in catalogs for name in names)
    return sorted({name for name in found if not name.isascii()})
