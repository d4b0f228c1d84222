"""The records of evaluation as types: FastChat's for MT-Bench, AlpacaEval's for annotations.

They are plain dictionaries when the program runs. Records come from files of any origin, so every
key may be missing and every value of another type; what scores them checks first.
"""

from typing import Literal, TypedDict

QuestionId = int | float | str
Winner = Literal["model_1", "model_2", "tie", "error"]


class MTBenchQuestion(TypedDict, total=False):
    """A question of two turns; ``reference`` holds a right answer for each turn."""

    question_id: QuestionId
    category: str
    turns: list[str]
    reference: list[str]


class Choice(TypedDict, total=False):
    """One sampled conversation: an answer for each turn."""

    index: int
    turns: list[str]


class MTBenchAnswer(TypedDict, total=False):
    """A model's answers to one question; ``ended`` and ``tokens`` are by turn, and ours."""

    question_id: QuestionId
    model_id: str
    choices: list[Choice]
    ended: list[bool]
    tokens: list[int]


class MTBenchJudgment(TypedDict, total=False):
    """A grade of one turn from 1 to 10, -1 where none could be read from the judgment.

    ``judge`` is the judge's name and the prompt's.
    """

    question_id: QuestionId
    model: str
    judge: list[str]
    category: str
    user_prompt: str
    judgment: str
    finish_reason: str
    score: float
    turn: int


class MTBenchPairJudgment(TypedDict, total=False):
    """Two models' answers to one question judged in both orders: model 1 first, then model 2."""

    question_id: QuestionId
    model_1: str
    model_2: str
    g1_winner: str
    g2_winner: str
    judge: list[str]
    g1_judgment: str
    g2_judgment: str
    turn: int
    output_1: str
    output_2: str


class AlpacaEvalAnnotation(TypedDict, total=False):
    """A judge's preference between the baseline's answer (1) and the model's (2)."""

    index: QuestionId
    instruction: str
    generator_1: str
    generator_2: str
    annotator: str
    preference: float | None
    output_1: str
    output_2: str
    len_output_1: int
    len_output_2: int
    token: str | None
    raw_completion: str | None
