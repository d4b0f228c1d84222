"""Checkpoints are those of the training itself, and what is said of them holds."""

import numpy as np
import pytest

from zephyr_utils import diagnostics, training
from zephyr_utils.chat import load_model
from zephyr_utils.data.records import save_records
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.pipeline.steps.ddpo import split_pairs, train_ddpo
from zephyr_utils.pipeline.steps.ddpo_checkpoints import FACTORS, measure_ddpo_checkpoints
from zephyr_utils.pipeline.steps.kept import KEPT_ADAPTERS, kept_steps
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale

QUESTIONS = data.development_questions()[::100]
LONGEST = 8  # tokens of an answer


@pytest.mark.parametrize(
    "steps, kept",
    [
        (200, [25, 50, 75, 100, 125, 150, 175, 200]),
        (10, [2, 3, 4, 5, 7, 8, 9, 10]),
        (3, [1, 2, 3]),
    ],
)
def test_an_adapter_is_kept_after_each_eighth_and_after_the_last_step(steps, kept):
    assert kept_steps(steps) == kept


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What is measured of the adapters that dDPO kept, and the model of the same training without
    them.
    """
    folder = tmp_path_factory.mktemp("runs")
    pairs = folder / "pairs.parquet"
    save_records(binarize(data.feedback(48)).pairs, pairs)
    recipe = get_scale("miniature").recipe("ddpo", per_device_train_batch_size=16)
    rows = (pairs, "drop")
    for keep in (False, True):
        train_ddpo(
            folder / str(keep),
            str(BASE_FOLDER),
            BASE_FOLDER,
            *rows,
            recipe,
            folder / "reference",
            keep=keep,
        )
    kept = folder / "True" / KEPT_ADAPTERS
    adapters = {int(path.name.removeprefix("step_")): path for path in kept.iterdir()}
    results = measure_ddpo_checkpoints(
        folder,
        str(BASE_FOLDER),
        BASE_FOLDER,
        adapters,
        *rows,
        recipe,
        QUESTIONS,
        TeacherJudge(),
        LONGEST,
    )
    _, held_out, _ = split_pairs(pairs, str(BASE_FOLDER), recipe.max_length, "drop")
    return adapters, results, folder / "False" / training.MODEL, held_out, recipe["beta"]


@pytest.mark.slow
def test_keeping_adapters_changes_no_bit_of_ddpo_and_the_last_is_its_own(both):
    adapters, _, model, _, _ = both
    weights = "adapter_model.safetensors"
    alone, beside = (model.parents[1] / keep for keep in ("False", "True"))
    for file in ("model/model.safetensors", f"adapter/{weights}"):
        assert (alone / file).read_bytes() == (beside / file).read_bytes(), file
    left, more = ({path.name for path in folder.iterdir()} for folder in (alone, beside))
    assert more - left == {KEPT_ADAPTERS}
    assert sorted(adapters) == kept_steps(max(adapters))
    last = adapters[max(adapters)] / weights
    assert last.read_bytes() == (alone / training.ADAPTER / weights).read_bytes()


@pytest.mark.slow
def test_margins_and_right_answers_are_those_of_the_models(both, tmp_path):
    _, results, model_folder, held_out, beta = both
    points = results["points"]
    last = next(n for n, point in enumerate(points) if point["factor"] != 1) - 1
    start, first = points[0], load_model(BASE_FOLDER, dtype="float32")
    assert (start["step"], start["margin"], start["accuracy"]) == (0, 0.0, 0.0)
    model, tokenizer = load_model(model_folder, dtype="float32")
    sums = [
        training.answer_log_probs(one, tokenizer, [pair[side] for pair in held_out])
        for one in (model, first[0])
        for side in ("chosen", "rejected")
    ]
    margins = diagnostics.reward_margins(*sums, beta)
    assert points[last]["margin"] == pytest.approx(margins.mean_margin.estimate, abs=1e-4)
    assert points[last]["accuracy"] == margins.accuracy.estimate
    shown = [pair["chosen"] for pair in results["pairs"]]
    places = [n for n, pair in enumerate(held_out) if pair["chosen"][-1]["content"] in shown]
    assert np.isin(np.round(points[last]["margins"], 3), np.round(margins.margins[places], 3)).all()
    exam = run_exam(
        model,
        tokenizer,
        "one",
        QUESTIONS,
        tmp_path,
        TeacherJudge(),
        temperature=0.0,
        max_new_tokens=LONGEST,
    )
    assert points[last]["right"] == pytest.approx(exam["right"])
    assert results["answers"] == 2 * len(QUESTIONS)


@pytest.mark.slow
def test_beyond_the_last_step_the_margins_go_on(both):
    points = both[1]["points"]
    beyond = [point for point in points if point["factor"] != 1]
    assert [point["factor"] for point in beyond] == list(FACTORS)
    assert len({point["step"] for point in beyond}) == 1
    assert beyond[-1]["margins"] != points[-len(FACTORS) - 1]["margins"]
