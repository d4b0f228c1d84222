"""The miniature's teacher as a judge, by rule; it satisfies `evaluation.Judge`."""

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.common import display_name
from zephyr_utils.evaluation.judges import Judgment, PairwiseJudgment, better_graded
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.miniature.teacher import Grade, grade_turn

# a right answer is graded at least this, whatever else it lacks; a wrong one at most 2
RIGHT_FROM = 4.0


class TeacherJudge:
    """Reads the question back from its text and grades by rule, so that the same answer always gets
    the same grade.
    """

    name = "rule-based teacher"
    right_from = RIGHT_FROM

    def grade(self, question: MTBenchQuestion, answers: list[str], turn: int) -> Judgment:
        """Grade the answer to turn 1 or 2 of a question of the miniature world.

        Raises:
            HandbookError: the question is not of that world, so nobody here knows its answer.
        """
        grade = self._grade(question, answers, turn)
        return Judgment(f"{grade.reason} [[{grade.score:g}]]", grade.score, "rules")

    def compare(self, question: MTBenchQuestion, answer_a: str, answer_b: str) -> PairwiseJudgment:
        """The better graded of two answers to the first turn; equal grades are a tie."""
        a, b = (self._grade(question, [answer], 1).score for answer in (answer_a, answer_b))
        return better_graded(a, b, "rules")

    def _grade(self, question: MTBenchQuestion, answers: list[str], turn: int) -> Grade:
        grade = grade_turn(question["turns"], answers, turn)
        if grade is None:
            raise HandbookError(
                f"the rule-based teacher cannot judge this question: {question['turns'][0][:80]!r}",
                where=f"question {display_name(question.get('question_id'))}",
                remedy="it knows the miniature world alone; for other questions name a judge "
                "behind an endpoint",
            )
        return grade
