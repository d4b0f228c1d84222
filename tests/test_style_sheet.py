"""What the style sheet in CONTRIBUTING.md bans is not in code, chapters, pages or names."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Terms that are also right in another sense, so that a search for the word would say nothing.
OTHER_SENSES = {
    "better": "of grades and runs",
    "worse": "of grades and runs",
    "policy for both": "two senses of one word",
    "winner": "the field of pair judgments, and the best setting of a search",
    "lead": "a path leads to a module",
    "unseen": "hidden by a mask",
    "stage": "dSFT and dDPO",
    "product": "of matrices",
    "switch": "a control of an explorer",
    "wins": "against another model, counted",
}
# What to search for where a term's own letters would find too much or too little.
SEARCHED_AS = {
    "update": r"(?:per|first|any)[ _]update",
    "room": r"(?:the|this|that|each|own|another|next) room|rooms",
    "tokens a second": r"(?:tokens|rows|pairs|calls|operations|bytes|MB|steps|questions) a second",
    "keep books": r"books",
    "throw away": r"thr(?:ow|ows|ew|own|owing) (?:\w+ )?away",
    "mend": r"mend(?:s|ed|ing)?",
    "come to grief": r"(?:come|comes|came|coming) to grief",
    "cannot be had": r"(?:cannot|could not|not to) be had",
    "how dear it is": r"(?-i:dear(?:er|est)?)",
}
NOT_IN_THE_TABLE = {
    "anew": "again",
    "learnt": "learned",
    "judgement": "judgment",
    # "is no longer", "is no larger" and "is no help" are English
    r"(?<!there )(?:is|are|was|were) no(?= (?!\w+er\b|more|help|cause|way)\w)": "is not a",
}
# What is said in the miniature's world, by its people, and what a judge is asked, word for word.
SAID_BY_OTHERS = {
    "facts.py", "base_text.py", "small_talk.py", "newcomers.py", "outside.py", "judge_prompts.py",
}  # fmt: skip
EXCEPTIONS = {
    ("zephyr_utils/exercises/core.py", "grader"): "grades a reader's answer to an exercise",
    ("zephyr_utils/data/filtering.py", "verb"): "the verbs of English",
    ("zephyr_utils/miniature/categories.py", "plus or minus"): "a sum, in words",
    ("zephyr_utils/pipeline/on_policy.py", "rater"): "a key of stored manifests",
    ("benchmarks/smol_steps.py", "update"): "a key of stored results",
    ("benchmarks/broken_runs.py", "update"): "a key of stored results",
    ("tools/real_costs.py", "update"): "a key of stored results",
}


def banned() -> dict[str, str]:
    """Every term of the table's second column -> the row's first column."""
    sheet = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("| term | and not |")[1]
    terms = {}
    for say, cell in re.findall(r"^\| (.+?) \| (.+?) \|$", sheet.split("\n\n")[0], re.M):
        for term in re.split(r"[,;] ", re.sub(r" \([^)]*\)", "", cell)):
            terms[term] = say
    terms.pop("---", None)
    return terms


def patterns() -> dict[str, tuple[re.Pattern[str], str]]:
    """Term -> what finds it as a whole word, also in a name with underscores, and what to say."""
    searched = {
        term: (SEARCHED_AS.get(term, rf"{re.escape(term)}(?:s|es)?"), say)
        for term, say in banned().items()
        if term not in OTHER_SENSES
    }
    searched |= {term: (term, say) for term, say in NOT_IN_THE_TABLE.items()}
    return {
        term: (re.compile(rf"(?<![A-Za-z])(?:{letters})(?![A-Za-z])", re.I), say)
        for term, (letters, say) in searched.items()
    }


def lines() -> Iterator[tuple[str, int, str]]:
    """Path, number and text of every line that is ours."""
    paths = [
        path
        for folder in ("zephyr_utils", "tools", "benchmarks", "notebooks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    paths += (ROOT / "zephyr_utils" / "recipes").rglob("*.yaml")
    paths += (ROOT / ".github").rglob("*.yml")
    paths += [*(ROOT / "book").glob("*.md"), ROOT / "README.md", ROOT / "Makefile"]
    for path in paths:
        if path.name not in SAID_BY_OTHERS:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                yield path.relative_to(ROOT).as_posix(), number, line


def test_the_sheet_is_read_and_names_every_exception():
    terms = banned()
    assert len(terms) >= 30 and terms["rater"].startswith("judge grades or compares")
    assert terms.keys() >= OTHER_SENSES.keys() | SEARCHED_AS.keys()
    assert not OTHER_SENSES.keys() & SEARCHED_AS.keys()


def test_text_and_code_say_what_the_sheet_says():
    wrong, used = [], set()
    searched = patterns()
    for path, number, line in lines():
        for term, (pattern, say) in searched.items():
            if pattern.search(line):
                if (path, term) in EXCEPTIONS:
                    used.add((path, term))
                else:
                    wrong.append(f"{path}:{number}: say {say}: {line.strip()}")
    assert not wrong, "\n".join(wrong)
    assert used == EXCEPTIONS.keys(), "exceptions that nothing needs any more"


def test_names_of_tests_say_it_too():
    wrong = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M):
            sentence = name.replace("_", " ")
            wrong += [
                f"{path.name}: say {say}: {name}"
                for pattern, say in patterns().values()
                if pattern.search(sentence)
            ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a rater of answers", True),
        ("online/raters.py", True),
        ("self_rater = 1", True),
        ("the operator", False),
        ("40 tokens a second", True),
        ("this is no path", True),
        ("there is no path", False),
        ("it is no longer", False),
        ("Dear Pia,", False),
    ],
)
def test_terms_are_found_as_whole_words_and_in_names(text, found):
    assert found == any(pattern.search(text) for pattern, _ in patterns().values())
