"""Answers that name options of a question: one letter, one letter with its text, or several letters."""

import re
from dataclasses import dataclass
from itertools import pairwise

_CASELESS = "abcdef"  # the case of other letters matters: R and r may be two radii
_NAMED = r"(?:[Tt]he )?(?:[Oo]ption|[Cc]hoice):? ?|[选選](?:择|項|项)? ?"
_LABEL = rf"(?P<label>{_NAMED}|(?:[Tt]he )?[Aa]nswer:? ?|答案:? ?)?"
_LETTER = re.compile(
    rf"{_LABEL}(?:\((?:[Oo]ption )?([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\)|(?P<bare>[A-Za-z]))"
    r"[.:,]?(?: ?选?项)?"
)
_FIRM_TAIL = re.compile(rf"{_LABEL}(?:\(([A-H])\)|\[([A-H])\]|([A-H])\))[.:,]? ?(?P<tail>\S.*)")
_COLON_TAIL = re.compile(
    rf"{_LABEL}([A-H])(?P<mark>:|,| -) ?(?P<tail>(?=.*(?:[A-Za-z]{{3}}|[^\W\da-zA-Z]))[^\d\\=]+)"
)
_PAREN_TAIL = re.compile(rf"{_LABEL}([A-H]) \((?P<tail>(?=[^)]*[a-z°%])[^(),]{{2,}})\)")
_DOT_TAIL = re.compile(rf"{_LABEL}(?:([A-H])(?P<mark>[.:])|\(([a-h])\)[.:,]?) ?(?P<tail>\S.*)")
_OTHER_LETTER = re.compile(r"(?<![A-Za-z])[A-H](?![A-Za-z'])|\([a-h]\)")
_OPTION = re.compile(rf"(?:{_NAMED})[(\[]?[A-H](?![A-Za-z])")
# The second words of species, whose first word is often one letter: E. coli and C. elegans.
_SPECIES = re.compile(
    "thaliana|fumigatus|niger|aegypti|gambiae|mellifera|subtilis|anthracis|cereus|burgdorferi|pertussis|fragilis"
    "|taurus|napus|elegans|difficile|botulinum|tetani|perfringens|albicans|jejuni|neoformans|diphtheriae"
    "|trachomatis|familiaris|lupus|reinhardtii|melanogaster|rerio|discoideum|coli|faecalis|faecium|histolytica"
    "|cloacae|caballus|tularensis|catus|lamblia|gallus|pylori|influenzae|sapiens|erectus|habilis"
    "|[a-z]+(?:ii|ensis|oides)"
)
_INITIALS = re.compile(r"[A-Z](?:\.|$)")  # B. J. Smith and A.M. are no options either
_ARTICLE = re.compile(r"(?:[Tt]he|[Aa]n?) ")
_ONE_OF_MANY = r"(?:\([A-H]\)|\[[A-H]\]|[A-H][.)]?)"
_JOINT = r"(?:[,;&]? ?(?:and|和|与)|[,;&]|(?= [(\[A-H]))"
_MANY = re.compile(rf"(?:[Bb]oth |[Oo]ptions:? |选项? ?)?{_ONE_OF_MANY}(?: ?{_JOINT} ?{_ONE_OF_MANY}){{1,7}}")
_GLUED = re.compile(r"(?:选项? ?)?([A-H]{2,8})")


@dataclass(frozen=True)
class Options:
    """The letters of an answer, in its order, and the text behind a single one.

    The option is `sure` if the letter says it all. `C. Brown` isn't: it is option C with the text "Brown", or
    a person. `E. coli` is a species and B. J. Smith a person, so that the letter alone is another answer.
    """

    letters: str
    text: str | None = None
    sure: bool = True
    letter_alone_differs: bool = False


def read_options(plain: str) -> Options | None:
    """Return the options that an answer in plain notation names, or None if it is no such answer."""
    if letter := _LETTER.fullmatch(plain):
        if letter["label"] is None and letter["bare"] is not None:
            return Options(letter["bare"])
        return Options(_folded(letter[2] or letter[3] or letter[4] or letter["bare"]))
    if _MANY.fullmatch(plain):
        return Options("".join(re.findall(r"(?<![A-Za-z])[A-H](?![A-Za-z])", plain)))
    glued = _GLUED.fullmatch(plain)
    if glued and all(left < right for left, right in pairwise(glued[1])):
        return Options(glued[1])
    return _with_tail(plain)


def _with_tail(plain: str) -> Options | None:
    """Return the option of a letter with a text.

    `B: red` is surely option B. But `B: 12` may state B's value, `B. Red` may be a name, and `(b) 12` may
    answer a part of the question.
    """
    for firm in (_FIRM_TAIL, _PAREN_TAIL, _COLON_TAIL):
        match = firm.fullmatch(plain)
        sure = match and (firm is not _COLON_TAIL or match["mark"] == ":" or match["tail"].islower())
        if match and sure:
            letter = next(filter(None, match.groups()[1:]))
            return None if _OTHER_LETTER.search(match["tail"]) else Options(_folded(letter), match["tail"])
    match = _DOT_TAIL.fullmatch(plain)
    if match is None or _OTHER_LETTER.search(match["tail"]):
        return None
    sure = match["mark"] is not None and _ARTICLE.match(match["tail"]) is not None
    named = _OPTION.match(plain) is not None
    first_word = match["tail"].partition(" ")[0]
    other = match["mark"] == "." and (_SPECIES.fullmatch(first_word) or _INITIALS.match(match["tail"]))
    return Options(
        _folded(match[2] or match[4]),
        match["tail"],
        sure=sure or named,
        letter_alone_differs=bool(other) and not named,
    )


def _folded(letter: str) -> str:
    """Return the letter of an option that is marked as one; a bare e or a may be a number or a length."""
    return letter.upper() if letter in _CASELESS else letter
