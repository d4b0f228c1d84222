"""Several models on MT-Bench: one table, what is suspicious about it, and the difference between
two of them.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from zephyr_utils.evaluation.common import (
    EvaluationError,
    check_names,
    checked_rows,
    display_name,
    name_some,
    natural_order,
    warn_all,
)
from zephyr_utils.evaluation.grading import first_choice_turns
from zephyr_utils.evaluation.intervals import PairedDifference, paired_difference
from zephyr_utils.evaluation.judgments import Turn, judgment_score, question_and_turn
from zephyr_utils.evaluation.mt_bench import MTBenchScore, mean, mt_bench_score
from zephyr_utils.evaluation.types import MTBenchAnswer, MTBenchJudgment, MTBenchQuestion


def split_by_model(judgments: Iterable[MTBenchJudgment]) -> dict[str, list[MTBenchJudgment]]:
    """Judgment records by their ``model`` as it is shown, models in order of first appearance.

    Raises:
        EvaluationError: no judgments, or some without a model's name.
    """
    by_model: dict[str, list[MTBenchJudgment]] = {}
    rows = checked_rows(judgments, "judgment")
    check_names(enumerate(rows, start=1), "model", "judgments")
    for row in rows:
        by_model.setdefault(display_name(row.get("model", "")), []).append(row)
    return by_model


def mt_bench_table(
    judgments: Iterable[MTBenchJudgment],
    questions: Iterable[MTBenchQuestion] | None = None,
    allow_failures: bool = False,
) -> dict[str, MTBenchScore]:
    """The scores of every model in one list of judgments, after comparing the models with each
    other.

    Warns:
        EvaluationWarning: as :func:`mt_bench_score`; and models with different question sets,
            unequal counts, or one set of judgments under two names.
    """
    by_model = split_by_model(judgments)
    questions = None if questions is None else list(questions)
    scores = {
        model: mt_bench_score(rows, questions, allow_failures) for model, rows in by_model.items()
    }
    asked = {model: {question_and_turn(row)[0] for row in rows} for model, rows in by_model.items()}
    messages = []
    for first, second in combinations(sorted(by_model), 2):
        if alone := asked[first] ^ asked[second]:
            messages.append(
                f"{first} and {second} differ in {len(alone)} questions: "
                f"{name_some(sorted(alone, key=natural_order))}"
            )
        elif len(by_model[first]) != len(by_model[second]):
            messages.append(
                f"{first} has {len(by_model[first])} judgments, {second} {len(by_model[second])}, "
                f"on the same questions"
            )
        if _same_judgments(by_model[first], by_model[second]):
            messages.append(f"{first} and {second} have one and the same set of judgments")
    warn_all(messages)
    return scores


def _same_judgments(first: list[MTBenchJudgment], second: list[MTBenchJudgment]) -> bool:
    """Equal in every score and every text: two models may well tie on a few grades, but not word
    for word.
    """

    def content(rows: list[MTBenchJudgment]) -> dict[Turn, tuple[object, object]]:
        return {question_and_turn(row): (row.get("score"), row.get("judgment")) for row in rows}

    return content(first) == content(second)


def wrong_model_judgments(
    judgments: Iterable[MTBenchJudgment], answers: Iterable[MTBenchAnswer]
) -> list[str]:
    """Judgments whose prompt does not hold the answer that the named model gave: they judge
    something else.

    Args:
        judgments: records with ``user_prompt`` (what the judge was shown); those without it cannot
            be checked.
        answers: records ``{question_id, model_id, choices: [{turns}]}``.

    Returns:
        "model, question, turn" of each.

    Warns:
        EvaluationWarning: when there are any, with their number.
    """
    given = {
        (str(row.get("model_id")), question_and_turn(row)[0]): first_choice_turns(row)
        for row in checked_rows(answers, "answer")
    }
    wrong = []
    for row in checked_rows(judgments, "judgment"):
        model, (question, turn) = str(row.get("model")), question_and_turn(row)
        turns, shown = given.get((model, question)), row.get("user_prompt")
        if turns is None or turn is None or turn > len(turns) or not isinstance(shown, str):
            continue
        if turns[turn - 1] not in shown:
            wrong.append(f"{display_name(model)}, question {display_name(question)}, turn {turn}")
    warn_all(
        [f"{len(wrong)} judgments are not of the model's own answer: {name_some(wrong)}"]
        if wrong
        else []
    )
    return wrong


def mt_bench_difference(
    first: Iterable[MTBenchJudgment], second: Iterable[MTBenchJudgment], seed: int = 0
) -> PairedDifference:
    """First model minus second, in grades, paired by question and turn over those that both have a
    valid grade for.

    The unit is the question: a question's turns are averaged first.

    Warns:
        EvaluationWarning: question turns that only one of the two has a grade for, with their
        number.
    """
    ours, theirs = _grades_by_turn(first), _grades_by_turn(second)
    common = ours.keys() & theirs.keys()
    if not common:
        raise EvaluationError(
            "the two models have no graded question in common",
            where="MT-Bench difference",
            remedy="judge both on one question set.",
        )
    if alone := ours.keys() ^ theirs.keys():
        listed = name_some(
            f"{question} turn {turn}"
            for question, turn in sorted(alone, key=lambda key: (natural_order(key[0]), key[1]))
        )
        warn_all(
            [f"{len(alone)} turns are graded for one of the two models only and left out: {listed}"]
        )
    pairs = defaultdict(list)
    for question, turn in common:
        pairs[question].append((ours[question, turn], theirs[question, turn]))
    return paired_difference(
        [mean([a for a, _ in pair]) for pair in pairs.values()],
        [mean([b for _, b in pair]) for pair in pairs.values()],
        seed=seed,
    )


def _grades_by_turn(judgments: Iterable[MTBenchJudgment]) -> dict[Turn, float]:
    grades = defaultdict(list)
    for row in checked_rows(judgments, "judgment"):
        score, _ = judgment_score(row)
        if score is not None:
            grades[question_and_turn(row)].append(score)
    return {key: mean(scores) for key, scores in grades.items()}
