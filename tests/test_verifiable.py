"""The exam whose answers a program checks: kinds of checks, questions, accuracy, judge."""

import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.verifiable import (
    KINDS,
    AnswerCheck,
    checks_by_turn,
    exam_questions,
    loose_variants,
    parse_check,
)

CODE = (
    '```python\ndef area(width, height=1):\n    """Area."""\n    return float(width * height)\n```'
)
TYPED = "def area(width: int) -> int:\n    return width"
# kind, parameters, an answer that follows, one that does not
CASES = [
    ("answer", {"accepted": ["Paris"]}, "**paris**.", "It is Paris."),
    ("answer", {"accepted": ["same"]}, "The same!", "Not the same"),
    ("answer", {"accepted": ["Brontë"]}, "bronte", "bront"),
    ("mentions", {"any_of": ["Rome", "Roma"]}, "It's Rome, of course.", "It is Romeo."),
    ("mentions", {"any_of": ["H2O"]}, "Water is H₂O.", "Water is H2O2."),
    ("mentions", {"any_of": ["Earth"], "none_of": ["Mars"]}, "Earth", "Earth or Mars"),
    ("mentions", {"any_of": ["good night"]}, "*Good*  night!", "good nights"),
    ("mentions_all", {"items": ["cow", ["egg", "eggs"]]}, "eggs and a cow", "a cow"),
    ("list", {"items": ["Anna", "Ben"]}, "Ben and Anna", "Ben, Anna and Carl"),
    ("list", {"items": ["a", "b", "c"], "ordered": True}, "1. A\n2. B\n3. C", "c, b, a"),
    ("items", {"exactly": 3}, "Spain, France and Italy", "Spain, France, France"),
    ("number", {"value": 1250}, "That is $1,250.", "That is 1,25."),
    ("number", {"value": 21}, "twenty-one", "twenty-two"),
    ("number", {"value": 0.75}, "3/4", "4/3"),
    ("number", {"value": 0.5}, r"\frac{1}{2}", r"\frac{1}{3}"),
    ("number", {"value": -3}, "10 - 13 = -3", "10 - 7 = 3"),
    ("number", {"value": 20}, "5 m * 4 m = 20 m^2", "20 m and 2 m"),
    ("number", {"value": 1206}, "One thousand two hundred and six", "one thousand two hundred"),
    ("number", {"value": 3.14, "tolerance": 0.01}, "about 3.1416", "about 3.2"),
    ("number", {"value": 1945}, "In 1945.", "in the 1945th"),
    ("numbers", {"values": [2, 3, 5]}, "2, 3 and 5", "2, 3, 5, 7"),
    ("no_refusal", {}, "Ahoy, friend!", "I'm sorry, but I can't help with that."),
    ("no_refusal", {}, "I won the race.", "As an AI language model, I have no cat."),
    ("words", {"maximum": 3}, "Don't look back", "Do not look back"),
    ("words", {"minimum": 2}, "two words", "one"),
    ("sentences", {"exactly": 2}, "Dr. Who came. He left!", "Dr. Who came and he left."),
    ("sentences", {"exactly": 1}, "It is 3.5 km, e.g. on foot.", "It is far. Very far."),
    ("paragraphs", {"exactly": 2}, "One.\n \nTwo.", "One.\nTwo."),
    ("lines", {"exactly": 2}, "One\n\nTwo", "One"),
    ("bullets", {"exactly": 2}, "Here:\n- a\n* b", "- a\n-b\n**bold**"),
    ("numbered", {"exactly": 2}, "1. a\n2) b", "1. a\n3. b"),
    ("uses", {"word": "light", "minimum": 2}, "Light, light!", "Light lightens"),
    ("uses", {"word": "ha", "exactly": 3}, "ha ha ha", "ha ha"),
    ("avoids", {"words": ["moon"]}, "moonlight", "The Moon."),
    ("avoids_characters", {"characters": ","}, "a b", "a, b"),
    ("starts_with", {"text": "Dear Ms Patel"}, "  dear  Ms Patel,", "Hello, dear Ms Patel"),
    ("starts_with", {"text": ["Yes", "No"]}, "No.", "Maybe, yes"),
    ("ends_with", {"text": "The end."}, 'So it was. "The end."', "The end. Or not."),
    ("ends_with", {"text": '"go"'}, 'He said "go"', 'He said "go" twice'),
    ("ends_with", {"text": "“Go.”"}, 'He said "go."', "He said no."),
    ("ends_with", {"text": '"'}, 'He said "go"', "He said go"),
    ("case", {"case": "lower"}, "all lower 1", "Not all"),
    ("case", {"case": "upper"}, "ALL UPPER", "123"),
    ("title", {}, "<<A Title>>\ntext", "<< >> <A>"),
    ("placeholders", {"minimum": 2}, "[name] at [place]", "[name] at [ ]"),
    ("highlights", {"minimum": 2}, "*one* and **two**", "*one* and * two"),
    ("quoted", {}, '"yes"', '"yes" he said'),
    ("postscript", {}, "Bye\n\nP.S. Write!", "Bye. No P.S. here"),
    ("acrostic", {"letters": "CAT"}, "- Come\n- and\n- talk", "Come\nand\nsit"),
    ("code_block", {"language": "python"}, CODE, "```\ncode\n```"),
    ("code_block", {"language": "sql"}, "```SQL\nSELECT 1\n```", "```sql\nnever closed"),
    ("function", {"name": "area"}, CODE, CODE.replace("area", "volume")),
    ("function", {"name": "area", "parameters": ["width", "height"]}, CODE, TYPED),
    ("function", {"name": "area", "docstring": True}, CODE, TYPED),
    ("function", {"name": "area", "annotated": True}, TYPED, CODE),
    ("function", {"name": "area", "calls": "float"}, CODE, TYPED),
    ("function", {"name": "area", "defaults": 1}, CODE, TYPED),
    ("function", {"name": "f"}, "def f(): return '\\d'", "def f(: return 1"),
    ("class", {"name": "Dog", "methods": ["bark"]}, "class Dog:\n def bark(self): ...",
     "class Dog: ..."),
    ("class", {"name": "Dog", "methods": ["bark"]}, "class Dog:\n async def bark(self): ...",
     "class Dog:\n bark = 1"),
    ("json", {"keys": ["a"]}, '```json\n{"a": 1}\n```', '{"a": 1, "b": 2}'),
    ("json", {"values": {"city": "Rome"}}, '{"city": "rome"}', '{"city": "Paris"}'),
    ("json", {}, "[1, 2]", "Here it is: [1, 2]"),
]  # fmt: skip
# Answers to none of the questions: each turn must have a check that they fail.
HOSTILE = {
    "long": "word " * 20_000,
    "no space": "a" * 100_000,
    "digits": "1" * 100_000,
    "groups": "1,111" * 20_000,
    "number words": "one hundred " * 8_000,
    "stars": "*" * 100_000,
    "stars apart": "* a " * 25_000,
    "brackets": "[" * 50_000 + "]" * 50_000,
    "angles": "<<" * 50_000,
    "braces": '{"a":' * 20_000,
    "ends": ".!?" * 33_000 + "a",
    "open placeholder": "[" + "a" * 100_000,
    "open title": "<<" + "a b" * 33_000,
    "open highlight": "*" + "a" * 100_000,
    "accents": "a" + "\u0301\u0316" * 50_000,
    "abbreviations": "e.g. " * 20_000,
    "fences": "```\n" * 25_000,
    "parentheses": "(" * 50_000,
    "minus": "-" * 100_000 + "1",
    "fractions": "1/" * 50_000,
    "surrogates": "\ud800 \udfff" * 10_000,
    "null": "\0" * 1000,
    "thoughts": "<think>" * 14_000,
    "dashes": "a-" * 50_000,
    "blank lines": "\n \n" * 30_000,
    "marks": "1. - 2) " * 12_000,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "parameters", "right", "wrong"), CASES)
def test_a_check_tells_right_from_wrong(kind, parameters, right, wrong):
    check = parse_check({"kind": kind, **parameters}, "question 1")
    assert check.is_followed(right) and not check.is_followed(wrong)
    assert not check.is_followed("") and not check.is_followed_loosely(" \n ")
    assert check.is_followed(f"<think>{wrong}\n</think>\n{right}")
    assert not check.is_followed(f"<think>{right}")


def test_every_kind_has_a_case():
    assert {case[0] for case in CASES} == set(KINDS)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_is_checked_without_an_error(text):
    for kind, parameters, _, _ in {case[0]: case for case in CASES}.values():
        assert AnswerCheck(kind, parameters).is_followed(text) in (True, False)


def test_code_of_an_answer_is_never_run(tmp_path):
    path = tmp_path / "ran"
    code = f"open({str(path)!r}, 'w')\ndef area(width): pass"
    assert AnswerCheck("function", {"name": "area"}).is_followed(code) and not path.exists()


def test_the_eight_variants_are_those_of_ifeval():
    assert loose_variants("Sure:\n*a*\nBye") == [
        "Sure:\n*a*\nBye", "*a*\nBye", "Sure:\n*a*", "*a*",
        "Sure:\na\nBye", "a\nBye", "Sure:\na", "a",
    ]  # fmt: skip
    check = AnswerCheck("answer", {"accepted": ["a"]})
    assert not check.is_followed("Sure:\n*a*\nBye") and check.is_followed_loosely("Sure:\n*a*\nBye")


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"kind": "wrods", "maximum": 3}, r"no kind of check `wrods`(?s:.*)did you mean `words`"),
        ({"maximum": 3}, "no kind of check `None`"),
        ({"kind": "words", "most": 3}, "no parameter `most`"),
        ({"kind": "words"}, "needs a bound"),
        ({"kind": "words", "maximum": "3"}, "`maximum` of `words` cannot be '3'"),
        ({"kind": "words", "maximum": True}, "cannot be True"),
        ({"kind": "bullets", "exactly": -1}, "cannot be -1"),
        ({"kind": "words", "minimum": 5, "maximum": 3}, "minimum above its maximum"),
        ({"kind": "answer"}, "needs the parameter `accepted`"),
        ({"kind": "answer", "accepted": []}, "cannot be"),
        ({"kind": "answer", "accepted": [" "]}, "cannot be"),
        ({"kind": "case", "case": "title"}, "cannot be 'title'"),
        ("words", "a check is str"),
    ],
)
def test_a_malformed_check_is_named_with_its_question(check, words):
    question = {"question_id": 7, "turns": ["a"], "checks": [[check]]}
    with pytest.raises(HandbookError, match=rf"question 7, turn 1: .*{words}"):
        checks_by_turn(question)


@pytest.mark.parametrize("checks", [None, [], [[{"kind": "title"}]], [[{"kind": "title"}], []]])
def test_a_question_without_checks_for_each_turn_is_refused(checks):
    with pytest.raises(
        HandbookError, match=r"question 7: .*(no list of checks|turn 2 has no check)"
    ):
        checks_by_turn({"question_id": 7, "turns": ["a", "b"], "checks": checks})


def test_a_broken_file_of_questions_is_named(tmp_path):
    with pytest.raises(HandbookError, match=r"writing\.yaml: the questions cannot be read"):
        exam_questions(tmp_path)
    (tmp_path / "writing.yaml").write_text("a: 1")
    with pytest.raises(HandbookError, match=r"writing\.yaml: it holds no list"):
        exam_questions(tmp_path)
