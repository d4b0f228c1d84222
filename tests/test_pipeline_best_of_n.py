"""What the best of n is chosen from: sixteen draws to each question, scored and graded."""

import pytest
import torch

from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.pipeline.steps.best_of_n import SAMPLES, draw_and_score
from zephyr_utils.rewards import load_reward_model, score_answers

QUESTIONS = data.development_questions()[::120]
LONGEST = 6  # tokens of an answer


def test_each_answer_has_the_reward_models_score_and_the_judges_grade(tmp_path):
    scorer, tokenizer = load_reward_model(BASE_FOLDER, new_head=True)
    torch.nn.init.normal_(scorer.score.weight, generator=torch.Generator().manual_seed(0))
    scorer.save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    judge = TeacherJudge()
    made = draw_and_score(
        tmp_path, BASE_FOLDER, tmp_path / "reward", QUESTIONS, judge, LONGEST, seed=3
    )["questions"]
    assert [one["prompt"] for one in made] == [one["turns"][0] for one in QUESTIONS]
    for question, one in zip(QUESTIONS, made, strict=True):
        answers = one["answers"]
        assert len(answers) == SAMPLES and len({answer["text"] for answer in answers}) > 1
        texts = [
            [
                {"role": "user", "content": one["prompt"]},
                {"role": "assistant", "content": answer["text"]},
            ]
            for answer in answers
        ]
        theirs = score_answers(scorer, tokenizer, texts)
        assert [answer["reward"] for answer in answers] == pytest.approx(theirs.tolist(), abs=1e-4)
        grades = [judge.grade(question, [answer["text"]], 1).score for answer in answers]
        assert [answer["grade"] for answer in answers] == grades
