"""Cut what a solution says with its final answer: an introduction, a reason, the next sentence."""

import re

from .normal_form import LONGEST, read_answer

_FENCE = re.compile(
    r"[ \t>]*(?:\$\$?|\\\[|\\\]|```\w*|\\begin\{\w+\*?\}|\\end\{\w+\*?\}|[-*_=#]{2,}|<\w+>|\\\\)[ \t]*"
)
_ENVIRONMENT = re.compile(
    r"\$\$|\\\[|\\\]|\\begin\{(?:equation|align|aligned|gather)\*?\}|\\end\{(?:equation|align|aligned|gather)\*?\}"
)
_BULLET = re.compile(r"^(?:[-*•+]\s+|#{1,6}\s+|>\s*)(?=\S)")
_END_OF_EMPHASIS = re.compile(r"^[*_]{1,3}\s+")
_ADVERB = re.compile(
    r"(?:therefore|thus|hence|then|indeed|clearly|simply|exactly|probably|(?:most )?likely|definitely|that|:)"
    r"[,:\s]+",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"[\s,;]*(?:[,;(]\s*|\s|^)(?:because|since|as (?:it|this|the|shown|we)|given that|so that|due to|which"
    r"|where|based on|according to|rather than|instead of|not(?=\s(?:\(?[A-H]\b|[-$(]?\d)))\b"
    r"|(?<=[A-H\d)*])\s(?:is|are)\s(?:therefore\s|thus\s)?(?:the\s)?(?:correct|right|best)"
    r"(?=[.,;]?(?:$|\s(?:because|since|as|answer|option|choice|one)\b))"
    r"|[，,；。]?(?:因为|由于|理由)|(?<=[A-H])[)）]?\s?(?:是?正确|符合|对$)"
)
_NEXT_SENTENCE = re.compile(
    r"[.!]\s+(?=(?:It|This|That|These|Those|The|They|Because|Since|So|We|As|Therefore|Thus|Hence|Here|Note|In|All|"
    r"Other|Among|If|When|By|For|However|There|Option|Each|Both|You|I)\b)|[。！](?=\s*\S)"
)
_ABBREVIATED = re.compile(r"(?:\.\w|\b(?:Inc|Ltd|Corp|Co|Jr|Sr|Dr|Mr|St|No|etc)|\.\.)\.$")
_JSON_END = re.compile(r'"?([^"{}]*)"?\s*\}')
_SUBJECT = re.compile(
    r"(?:(?:so|thus|hence|therefore|then)\s?,?\s)?(?:(?:i (?:think|believe)(?: that)? )?it(?:'s| is)\s"
    r"|(?:the|its|their|this|our|a)\s(?:[a-z'-]+\s){0,3}?"
    r"(?:area|perimeter|circumference|volume|length|width|height|radius|diameter|value|sum|total|difference|product|"
    r"ratio|mean|median|mode|range|average|number|amount|count|probability|angle|measure|distance|speed|velocity|"
    r"acceleration|force|energy|power|mass|weight|price|cost|slope|answer|result|solution|option|choice|age|"
    r"percentage|percent|fraction|rate|time|temperature|degree|score|side|gap|increase|decrease|change|profit|loss"
    r"|discount|remainder|quotient|depth|thickness|capacity|pressure|density|resistance|current|voltage|frequency)\b"
    r"(?:\s(?:of|in|for|between)\s[^.=\d]{1,60}?)?\s(?:is|are|was|=|equals|will be|would be)\s)"
    r"(?:equal to\s|therefore\s|option\s)?(?P<value>.+)",
    re.IGNORECASE,
)
_ARITHMETIC = re.compile(r"^(?=\(*\s*\d[\d.\s)]*[+*/×÷-])[\d\s.+*/×÷()-]+=\s*(?=[-+]?[\d.])")
_CHINESE_SUBJECT = re.compile(
    r"[^，。,\d]{0,20}?(?:面积|周长|体积|长度|长|宽|高|半径|直径|度数|角度|值|和|差|积|比"
    r"|概率|数量|距离|速度|结果|答案)(?:是|为|等于)(?P<value>.+)"
)


def content_lines(text: str) -> list[str]:
    """Return the lines of a text, stripped, without those that only begin or end a displayed equation."""
    return [line.strip() for line in text.splitlines() if line.strip() and not _FENCE.fullmatch(line)]


def first_content_line(text: str) -> str:
    """Return the first line that says something, without bullet and without marks of a displayed equation."""
    for line in text.splitlines():
        if not line.strip(" \t*_#$:：`") or _FENCE.fullmatch(line):
            continue
        line = _ENVIRONMENT.sub("", line)
        bare = _BULLET.sub("", line.strip(" \t"), count=1).strip(" \t`")
        bare = _unpaired(bare)
        if bare.strip(" *_:："):
            return bare
    return ""


def condensed(line: str) -> str:
    """Return the answer that a line states: "B because it is red." is B, "The area is 5 cm^2." is 5 cm^2.

    Only what surely belongs to the sentence and not to the answer is cut. A reason is cut after a number, a
    letter or a formula, not after words, because "because" may be part of such an answer.
    """
    line = _unpaired(_END_OF_EMPHASIS.sub("", line.strip(), count=1))[: 4 * LONGEST]
    line = _ADVERB.sub("", line, count=1) if _ADVERB.match(line) else line
    line = _NEXT_SENTENCE.split(line, maxsplit=1)[0]
    for expression in (_SUBJECT, _CHINESE_SUBJECT):
        subject = expression.fullmatch(line)
        if subject and is_definite(subject["value"].split(" because ")[0]):
            line = _ARITHMETIC.sub("", subject["value"], count=1)
    reason = _REASON.search(line)
    if reason and is_definite(line[: reason.start()]):
        line = line[: reason.start()]
    return _tidy(line)


def is_definite(text: str) -> bool:
    """Return whether a text is a number, an option or a formula, so that it needs no more words."""
    text = text.strip().strip("*").strip()
    if not text or len(text) > LONGEST:
        return False
    return read_answer(text).kind != "text"


def _tidy(line: str) -> str:
    """Return the line without its full stop, which stays behind an abbreviation."""
    in_json = _JSON_END.fullmatch(line.strip())
    line = _unpaired((in_json[1] if in_json else line).strip().removesuffix("。"))
    return line if _ABBREVIATED.search(line) else line.removesuffix(".").strip(" ,;")


def _unpaired(line: str) -> str:
    """Return the line without emphasis and math delimiters around all of it, or around a part that is cut."""
    line = line.strip()
    if line.count("**") % 2 or (line.startswith("**") and line.endswith(("**", "**."))):
        line = line.replace("**", "", 1) if line.count("**") % 2 else line.replace("**", "")
    line = line.strip(" ")
    if line.count("$") == 2 and line.startswith("$") and line.rstrip(".").endswith("$"):
        line = line.rstrip(".").strip("$")
    if line.startswith("\\(") and line.rstrip(".").endswith("\\)") and line.count("\\(") == 1:
        line = line.rstrip(".")[2:-2]
    return line.strip()
