"""Drop a warning of transformers that calls the published Qwen tokenizers wrong.

transformers 5.19 takes every local folder with a large vocabulary and no version in `config.json` for an old
Mistral, and all published InternVL3 folders have the version null. It then says that the tokenizer "will lead
to incorrect tokenization" unless `fix_mistral_regex=True` is set. The ids are right, and the flag would make
them wrong.
"""

import json
import logging
import re
from pathlib import Path

_WARNING = re.compile(r"The tokenizer you are loading from '(.+?)' with an incorrect regex pattern")
_MODEL_TYPES = ("internvl_chat", "internvl")


def drop_regex_warning() -> None:
    """Drop the warning for InternVL's folders in this process. Other models keep it."""
    logger = logging.getLogger("transformers.tokenization_utils_tokenizers")
    if _is_not_about_internvl not in logger.filters:
        logger.addFilter(_is_not_about_internvl)


def _is_not_about_internvl(record: logging.LogRecord) -> bool:
    match = _WARNING.match(record.getMessage())
    if match is None:
        return True
    config = Path(match[1]) / "config.json"
    return not config.is_file() or json.loads(config.read_text()).get("model_type") not in _MODEL_TYPES
