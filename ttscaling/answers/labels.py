"""The places at which a solution says that its final answer follows.

A label is `Final answer:`, a heading such as `### Answer`, or `故选：`. A sentence is "the answer is ..".
Every expression here is bounded, so that a text of any length is read in linear time.
"""

import re
from collections.abc import Iterator
from operator import itemgetter

from .condensing import condensed, first_content_line, is_definite

# Each label begins with its key word, so that a text without such words is read fast.
_LABEL = re.compile(
    r"""(?<![A-Za-z])ans(?:wer(?:s(?=[ \t*]{0,4}[:：][ \t*]{0,4}[^\s*]))?)?(?![A-Za-z])
        (?:(?:\s(?:is|choice|option|to\sthe\squestion))?(?:[ \t*_"']{0,6}[:：]|[ \t]{1,3}[-–—=→][ \t]|\.\*\*)
        |(?P<heading>[ \t#*_:：]{0,12}$)|(?P<open>\sis[ \t*]{0,6}$))
    |(?:(?<=final\s)|(?<=correct\s)|(?<=right\s))(?:result|option|choice|solution)[ \t*_]{0,6}[:：]
    |(?:答案|结果|答)(?:[是为])?[ \t*_】\]]{0,6}(?:[:：]|(?<=】))
    |(?P<chinese_heading>答案[ \t#*_:：]{0,12}$)
    |选(?:择|项)?(?:[ \t]{0,3}[:：]|(?P<picked>[ \t]{0,3}(?=[(（]?[A-H])))""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_KINDS = r"final|correct|right|my|best|short|最终|正确|最后|参考"
# What may stand before a label in its sentence. "Note: the final answer: .." talks about the answer.
_BEFORE = re.compile(
    rf"(?:[\s#*_>$-]|\d{{1,2}}[.)]|step \d{{1,2}}:?|so|thus|hence|therefore|then|and|now|finally|{_KINDS}"
    r"|in conclusion|consequently|the|our|a|is|[,;]|因此|所以|故|综上|所述|，|、|：|的|则|本题|这道题|该题"
    r"|应|答案|[(（【\[])*",
    re.IGNORECASE,
)
_BEFORE_HEADING = re.compile(rf"(?:[\s#*_>]|the |{_KINDS})*", re.IGNORECASE)
_BEFORE_PICKED = re.compile(r".*(?:故|应|所以|因此|综上|答案|本题|正确答案)[，,应该]*", re.DOTALL)
_BEFORE_LENGTH = 48
_SENTENCE_END = re.compile(r"[.。!?！？](?:\s|$|(?<=[。！？]))|\n|\*\*|</?[a-z]{1,10}>|[{,]\s?[\"']")
_NO_ANSWER = re.compile(
    r"(?:must|should|will|has to|have to|needs?|can|could|may|might|would|is to|in the form|as an?)\b"
    r"|not\b(?! enough| given| possible)|neither\s|as follows\b"
    r"|(?:given|shown|listed) (?:by|below|above|in)\b",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"""\b(?:answer|option|choice)\s(?:is\snot|isn't|can't\sbe|cannot\sbe)\s(?:option\s)?[^\s.,;]{1,20}[.,;]?
        [ ](?:but|rather|it(?:'s|\sis))[ ](?=(?P<instead>\S[^\n]{0,119}))
    |\b(?:answer|option|choice|solution)\b(?:\s(?:to|for|of|in|from)\s[^.\n:]{1,60}?)?
        [ \t*]{0,4}(?:\bis\b|\bwould\sbe\b|\bshould\sbe\b|\bmust\sbe\b
        (?!\s(?:an?|in|one|positive|negative|even|odd|less|greater|between)\b))
        [ \t*:：]{0,6}(?=(?P<after>\S[^\n]{0,3999}))
    |(?:答案|选项|结果)(?:应该|应当|应)?[是为选](?:择|项)?[ \t*:：]{0,6}(?=(?P<chinese>\S[^\n]{0,3999}))
    |(?:答案|选项)不是[^，,。\s]{1,20}[，,][ ]?(?:而是|是)(?=(?P<chinese_instead>\S[^\n]{0,119}))
    |\b(?:correct|right|final)\s(?:answers|options|choices)\sare[ \t*:]{1,6}
        (?=(?P<several>\S[^\n]{0,3999}))""",
    re.IGNORECASE | re.VERBOSE,
)
_RIGHT_OPTION = re.compile(
    r"""(?<!nor\s)(?<!either\s)(?<!not\s)(?<![iI]f\s)(?<!whether\s)
        \b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)[ *]{1,4}
        \(?(?P<letter>[A-H])\b[)*]{0,3}(?:[:.]?(?:(?!\bis\b|\b[A-H]\b)[^.\n]){0,60}?)?
        \s(?:is|would\sbe)\s(?:therefore\s|thus\s)?(?:the\s)?(?:most\s)?(?:correct|right|best|answer|appropriate)
    |(?:^|[,.;]|\b[Ss]o|\b[Tt]hus|\b[Hh]ence|\b[Tt]herefore)\s?\(?(?P<alone>[A-H])\)?\sis\s(?:the\s)?(?:correct|right|best|answer)
        (?:\s(?:answer|option|choice|one))?(?=[\s.,]|$)
    |(?:选项|选)[ *]{0,3}(?P<chinese>[A-H])[ *]{0,3}(?:是)?(?:正确|符合|对)
    |\b(?:[Cc]hoose|[Ss]elect|[Pp]ick)\s(?:option\s|answer\s|choice\s)?[ *]{0,4}
        \(?(?P<chosen>[A-H])\b(?=[)*.,\s]|$)
    |(?:^|[，,。.\s])(?:我)?(?:故)?选(?:择)?(?:选项)?[ *]{0,3}[(（]?(?P<picked>[A-H])[)）]?
        (?=[ *]{0,3}(?:[。.，,\s]|$))""",
    re.VERBOSE | re.MULTILINE,
)
_MOST_STATEMENTS = 100  # are read, the last ones of a text
_SUPPOSING = re.compile(
    r"\b(?:not|never|cannot|if|when|whether|who|whoever|those|wrong|avoid|could|might|may)\b|n't\b",
    re.IGNORECASE,
)
_ANOTHER = re.compile(r"[)*]{0,3}\s?(?:or|and|/|,)\s?\(?[A-H]\b")
_LETTER_WITH_TEXT = re.compile(r"[(*\s]{0,4}([A-H])[).:]\*{0,2}\s?(?=[\w$\\(])(?!\s?(?:and|or|[,&/、])\b)")


def has_label(text: str) -> bool:
    """Return whether any label is in the text, even one that nothing follows."""
    return any(_announces(text, label) for label in _LABEL.finditer(text))


def labelled(text: str) -> Iterator[str]:
    """Yield what follows each label up to the next one, the last label first."""
    end = len(text)
    for label in reversed(list(_LABEL.finditer(text))):
        if _announces(text, label):
            yield text[label.end() : end]
            end = label.start()


def statements(text: str) -> Iterator[str]:
    """Yield what follows "the answer is" in its line, and the letter of "option C is correct", last first."""
    found = [(match.start(), match) for match in _STATEMENT.finditer(text)]
    found += [(match.start(), match) for match in _RIGHT_OPTION.finditer(text)]
    for _, match in sorted(found, key=itemgetter(0), reverse=True)[:_MOST_STATEMENTS]:
        if match.re is _RIGHT_OPTION:
            if match["chosen"] is None or not _is_supposed(text, match):
                yield next(filter(None, match.groups()))
            continue
        stated = _stated(match)
        corrected = match["instead"] or match["chinese_instead"]
        if not _NO_ANSWER.match(stated) and (corrected is None or is_definite(condensed(stated))):
            yield stated


def _is_supposed(text: str, match: re.Match[str]) -> bool:
    """Return whether a sentence denies or supposes that an option is chosen, or names another one, too."""
    before = _SENTENCE_END.split(text[max(0, match.start() - _BEFORE_LENGTH) : match.start()])[-1]
    return bool(_SUPPOSING.search(before) or _ANOTHER.match(text, match.end("chosen")))


def _stated(match: re.Match[str]) -> str:
    """Return what a sentence states; "the option is A. cone" states the option A."""
    stated: str = next(filter(None, match.groups()))
    letter = _LETTER_WITH_TEXT.match(stated)
    return letter[1] if letter and match[0][:6].lower() in ("option", "choice") else stated


def _announces(text: str, label: re.Match[str]) -> bool:
    """Return whether a label announces the answer, which it does at the beginning of a sentence."""
    before = text[max(0, label.start() - _BEFORE_LENGTH) : label.start()]
    if label["heading"] is not None or label["chinese_heading"] is not None:
        return _BEFORE_HEADING.fullmatch(before.rpartition("\n")[2]) is not None
    sentence = _SENTENCE_END.split(before)[-1]
    if label["open"] is not None and not is_definite(
        condensed(first_content_line(text[label.end() :][:2000]))
    ):
        return False
    if label["picked"] is not None:
        return _BEFORE_PICKED.fullmatch(sentence) is not None
    following = text[label.end() : label.end() + 40].lstrip(" \t*_")
    return _BEFORE.fullmatch(sentence) is not None and not _NO_ANSWER.match(following)
