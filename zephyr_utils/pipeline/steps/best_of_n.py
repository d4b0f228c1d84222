"""Several answers of the dSFT model to each question, with a reward model's scores and a judge's
grades: what the best of n is chosen from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.online import sample_answers
from zephyr_utils.rewards import load_reward_model, score_answers

SAMPLES = 16  # answers to each question


def draw_and_score(
    folder: Path,
    start: Path,
    reward_model: Path,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
    seed: int,
) -> dict[str, Any]:
    """The first turn of each question, answered `SAMPLES` times at temperature 1.

    Args:
        folder: of the artefact; nothing is written there.
        start: directory of the model that answers.
        reward_model: directory of the one that scores.
        questions: none that the models are chosen or compared by.
        judge: who grades, on a scale from 1 to 10.
        max_new_tokens: of the longest answer.
        seed: of the draws.

    Returns:
        ``questions``, ``[{prompt, answers: [{text, reward, grade}]}]``; rewards are in logits, and
        answers to different questions cannot be compared by them.
    """
    model, tokenizer = load_model(start, dtype="float32")
    prepare_tokenizer(tokenizer)
    prompts = [question["turns"][0] for question in questions]
    drawn = sample_answers(
        model, prompts, SAMPLES, tokenizer=tokenizer, max_new_tokens=max_new_tokens, seed=seed
    )
    scorer, its_tokenizer = load_reward_model(reward_model)
    rewards = score_answers(
        scorer,
        its_tokenizer,
        [
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": one.text}]
            for prompt, answers in zip(prompts, drawn, strict=True)
            for one in answers
        ],
    ).reshape(len(prompts), SAMPLES)
    return {
        "questions": [
            {
                "prompt": question["turns"][0],
                "answers": [
                    {
                        "text": one.text,
                        "reward": float(reward),
                        "grade": judge.grade(question, [one.text], 1).score,
                    }
                    for one, reward in zip(answers, of_one, strict=True)
                ],
            }
            for question, answers, of_one in zip(questions, drawn, rewards, strict=True)
        ]
    }
