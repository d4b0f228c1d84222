"""``zephyr evaluate`` as the tests call it, with records of the miniature world."""

import json

from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.miniature import data

RUNNER = CliRunner()


def few_questions():
    """Two questions of each category of the miniature world."""
    every = data.questions()
    return [question for n, question in enumerate(every) if n % data.QUESTIONS_PER_CATEGORY < 2]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def right_answers(questions, model):
    return [
        {
            "question_id": q["question_id"],
            "model_id": model,
            "choices": [{"turns": list(q["reference"])}],
        }
        for q in questions
    ]


def run(*arguments):
    result = RUNNER.invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output
