"""A judge that verifies answers with a question's own checks; it satisfies `evaluation.Judge`."""

from collections.abc import Sequence

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.common import display_name
from zephyr_utils.evaluation.judges import Judgment, PairwiseJudgment, better_graded
from zephyr_utils.evaluation.types import MTBenchAnswer, MTBenchQuestion
from zephyr_utils.verifiable.accuracy import accuracy
from zephyr_utils.verifiable.questions import checks_by_turn

LOWEST_GRADE, HIGHEST_GRADE = 1.0, 10.0


class ChecksJudge:
    """Grades a turn from 1 to 10 by the share of its checks that the answer follows strictly; 10
    is a right answer. The same answer always gets the same grade.
    """

    name = "checks"
    right_from = HIGHEST_GRADE

    def grade(self, question: MTBenchQuestion, answers: list[str], turn: int) -> Judgment:
        """Grade the answer to a turn.

        Raises:
            HandbookError: the question has no checks.
        """
        checks = checks_by_turn(question)
        if not 1 <= turn <= min(len(checks), len(answers)):
            raise HandbookError(
                f"there is no turn {turn} with an answer",
                where=f"question {display_name(question.get('question_id'))}",
                remedy="grade the turns that were answered",
            )
        followed = [check.is_followed(answers[turn - 1]) for check in checks[turn - 1]]
        span = HIGHEST_GRADE - LOWEST_GRADE
        score = round(LOWEST_GRADE + span * sum(followed) / len(followed), 2)
        words = "; ".join(
            f"{check}: {'followed' if is_right else 'not followed'}"
            for check, is_right in zip(checks[turn - 1], followed, strict=True)
        )
        # Double brackets in a check would be read as a rating.
        return Judgment(f"{words.replace('[[', '[ [')} [[{score:g}]]", score, "checks")

    def compare(self, question: MTBenchQuestion, answer_a: str, answer_b: str) -> PairwiseJudgment:
        """The better graded of two answers to the first turn; equal grades are a tie."""
        a, b = (self.grade(question, [answer], 1).score for answer in (answer_a, answer_b))
        return better_graded(a, b, "checks")

    def summary(
        self, questions: Sequence[MTBenchQuestion], answers: Sequence[MTBenchAnswer]
    ) -> dict[str, float]:
        """Strict and loose accuracy of a model, by prompt and by instruction."""
        figures = accuracy(answers, questions)
        return {name: interval.estimate for name, interval in figures.measures.items()}
