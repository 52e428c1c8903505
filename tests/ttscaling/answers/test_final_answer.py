import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.answers.final_answer import agree, final_answer, group_equal_answers, majority, same_answer

ANSWERS = st.sampled_from(
    ["7", "7.0", "seven", "B", "(b)", "1/2", "0.5", "", "x = 3", "3", "y = 3", "7 m", "B. red"]
)
BARE = st.sampled_from(["7", "7.0", "seven", "B", "(b)", "1/2", "0.5", "", "x = 3"])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7.\n\nFinal answer: 7", "7"),
        ("**Final answer:** 7", "7"),
        ("**Final Answer: 7**", "7"),
        ("So the final answer: 12 apples\n\nDone.", "12 apples"),
        ("Final answer: 3\n\nNo, wait.\n\nFinal answer: 4", "4"),
        ("Final answer:\n7", "7"),
        ("第一步。\n\n答案：7", "7"),
        ("We add.\n\nAnswer: \\boxed{B}", "B"),
        ("Answer: see the box\n\n\\boxed{7}", "7"),
        ("so \\boxed{\\frac{1}{2}} it is\nindeed", "\\frac{1}{2}"),
        ("\\boxed{1} or rather\n\\boxed{2}", "2"),
        ("\\boxed{x = \\boxed{7}}, so\n7", "7"),
        ("\\boxed{5}, but cut off here: \\boxed{\nthe", "5"),
        ("\\boxed{5}\n\nFinal answer:", "5"),
        (" B \n", "B"),
        ("Step one.\n\nStep two, cut", None),
        ("Final answer:", None),
        ("It is red.\n\nSo the answer is B. It stands out.", "B"),
        ("The correct option is **(C)**.\n\nDone", "(C)"),
        ("One option is A.\n\nThe answer is: 3.5 m.", "3.5 m"),
        ("the answer is 3\n\n\\boxed{4}", "4"),
        ("第一步。\n\n所以答案是B。", "B"),
        ("The final answer is 12.", "12"),
        ("The answer is\n\ncut", None),
        ("The model can answer: many things\nof note", None),
        ("", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("7", "7.0"),
        ("1,234", "1234.00"),
        ("1/2", ".5"),
        ("+3", "3."),
        ("-0", "0"),
        ("B", "(b)"),
        ("B.", "\\text{B}"),
        ("Option B", "(B) the red one"),
        ("选B", "选项 B"),
        ("$12$", "12"),
        ("**row 2**", "Row  2."),
        ("9" * 40, "9" * 40 + "."),
    ],
)
def test_same(left: str, right: str) -> None:
    assert same_answer(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("7", "-7"),
        ("1,2", "12"),
        ("A", "B"),
        ("1/0", "2/0"),
        ("row 1", "row 2"),
        (".", "0"),
        ("a", "an"),
        ("", "0"),
    ],
)
def test_different(left: str, right: str) -> None:
    assert not same_answer(left, right)


def test_the_last_line_of_a_cut_off_text_states_nothing() -> None:
    assert final_answer("3 + 4 = 7\n\n7") == "7"
    assert final_answer("3 + 4 = 7\n\n7", cut_off=True) is None
    assert final_answer("B\n\nBecause", cut_off=True) == final_answer("B", cut_off=True) == "B"
    assert final_answer("Final answer: 7\n\n8", cut_off=True) == "7"


def test_majority_counts_same_answers_together() -> None:
    assert majority(["6", "7", "7.0", None, "(7)"]) == 1


def test_a_tie_goes_to_the_earlier_group() -> None:
    assert majority([None, "5", "6", "6", "5"]) == 1


def test_no_votes_elect_the_first() -> None:
    assert majority([None, None]) == 0
    with pytest.raises(ValueError, match="no answers"):
        majority([])


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        (["5", "5 cm", "7 cm", "5cm"], [[0, 1, 3], [2]]),
        (["5", "5 km", "5 m"], [[0], [1], [2]]),
        (["x=3", "y=3"], [[0], [1]]),
        (["3", "y=3"], [[0, 1]]),
        (["30 cm", "30°"], [[0], [1]]),
        (["B", "B. red", "(B)"], [[0, 1, 2]]),
        (["C", "C. Brown", "C. Smith"], [[0], [1], [2]]),
        ([None, "5"], [[1]]),
    ],
)
def test_a_vote_joins_what_leaves_out_a_unit(answers: list[str | None], groups: list[list[int]]) -> None:
    assert group_equal_answers(answers) == groups


@given(st.lists(BARE, min_size=1, max_size=12))
def test_the_elected_answer_has_the_most_votes(answers: list[str]) -> None:
    def votes(index: int) -> int:
        return sum(same_answer(answers[index], other) for other in answers)

    elected = majority(answers)
    best = max(votes(index) for index in range(len(answers)))
    assert elected == next(index for index in range(len(answers)) if votes(index) == best)


@given(ANSWERS, ANSWERS, ANSWERS)
def test_same_is_an_equivalence(a: str, b: str, c: str) -> None:
    assert same_answer(a, a)
    assert same_answer(a, b) == same_answer(b, a)
    assert not (same_answer(a, b) and same_answer(b, c)) or same_answer(a, c)


@given(st.text(alphabet="\\boxed{} \n*Final answer:7", max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    answer = final_answer(text)
    assert answer is None or same_answer(answer, answer)


@pytest.mark.parametrize("unit", ["\\boxed{", "answer: ", "\n", " ", "*", "{", "Final answer:\n\n", "9,"])
def test_hostile_lengths_are_read_in_linear_time(unit: str) -> None:
    """A function of quadratic time would take hours for these two million characters."""
    text = unit * (2_000_000 // len(unit))
    answer = final_answer(text)
    assert answer is None or same_answer(answer, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So -\\boxed{5}", "-5"),
        ("$\\boxed{5}$ km", "5 km"),
        ("$\\boxed{50}\\%$", "50%"),
        ("$\\boxed{5} \\times 10^3$", "5000"),
        ("\\boxed{7}\\,\\text{m/s}", "7 m/s"),
        ("\\boxed{5} is the answer", "5"),
    ],
)
def test_what_stands_around_a_box_belongs_to_the_answer(text: str, answer: str) -> None:
    stated = final_answer(text)
    assert stated is not None and same_answer(stated, answer)


@pytest.mark.parametrize(
    "text",
    [
        "You should not choose A.",
        "It would be wrong to pick C.",
        "If we select B we get 5.",
        "Select A or B.",
    ],
)
def test_an_option_that_is_denied_or_supposed_is_not_chosen(text: str) -> None:
    assert final_answer(f"Let us see.\n{text}\nIt depends.") is None


@pytest.mark.parametrize("equation", ["\\sqrt{x} = 5", "x != 5", "a+b=5", "x^n=5", "not x = 5"])
def test_an_expression_before_the_equals_sign_is_no_name(equation: str) -> None:
    assert not agree(equation, "5")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is not A. It is B.", "B"),
        ("答案不是A，而是B。", "B"),
        ("The answer is not A.", None),
        ("答案不是A。", None),
        ("The figure is not a square. It is a rectangle.\nIts area is unknown.", None),
        ("The choices are A, B, C and D.\nWe look at each of them now.", None),
        ("Answers:\nA. 5\nB. 6\nLet me think about it.", None),
        ("Solution: x = 5", "x = 5"),
        ("Final answer: x is right of y", "x is right of y"),
        ("So \\boxed{5} or \\boxed{6}", "5 or 6"),
        ("x=\\boxed{5}, y=\\boxed{5}", "x=5, y=5"),
    ],
)
def test_what_is_denied_or_only_listed_is_no_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer
