"""Adapters that dSFT keeps on its way change nothing of it, and what is measured of them holds."""

import pytest
from safetensors.torch import load_file

from zephyr_utils import training
from zephyr_utils.chat import load_model
from zephyr_utils.data.records import save_records
from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps import dsft
from zephyr_utils.pipeline.steps.dsft import train_dsft
from zephyr_utils.pipeline.steps.dsft_checkpoints import measure_dsft_checkpoints
from zephyr_utils.pipeline.steps.kept import KEPT_ADAPTERS, halved_steps, step_folder
from zephyr_utils.scales import get_scale

QUESTIONS = data.development_questions()[::100]
UNTRAINED = training.Trained(BASE_FOLDER, [], {})
LONGEST = 8  # tokens of an answer
STEPS = 5
WEIGHTS = "adapter_model.safetensors"


@pytest.mark.parametrize(
    "steps, kept",
    [
        (680, [6, 11, 22, 43, 85, 170, 340, 680]),
        (5, [1, 2, 3, 5]),
        (1, [1]),
    ],
)
def test_dsft_keeps_an_adapter_after_each_half_of_what_follows(steps, kept):
    assert halved_steps(steps) == kept


@pytest.mark.parametrize("step", ["dsft", "ddpo"])
def test_the_scale_whose_base_model_comes_with_the_package_keeps_adapters(
    step, monkeypatch, tmp_path
):
    asked = {}

    def build(folder, make, **_):
        asked[folder.parent.name] = make.keywords.get("keep")
        raise LookupError

    monkeypatch.setattr(Pipeline, "truecased", lambda self: FINISHED)
    monkeypatch.setattr(Pipeline, "pairs", lambda self: FINISHED)
    monkeypatch.setattr(Pipeline, "start", lambda self: (BASE_FOLDER, "a key"))
    monkeypatch.setattr(Pipeline, "base_model_address", "a base")
    monkeypatch.setattr("zephyr_utils.pipeline.pipeline._digest", str)
    monkeypatch.setattr("zephyr_utils.pipeline.pipeline.build_artefact", build)
    for scale in ("miniature", "zephyr-7b-lora"):
        with pytest.raises(LookupError):
            getattr(Pipeline(scale=scale, runs=str(tmp_path)), step)()
    assert asked == {"miniature": True, "zephyr-7b-lora": False}


class FINISHED:
    """Stands for the manifest of the truecased dialogues, and of the pairs."""

    key, folder, recipe = "a key", BASE_FOLDER, {}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, results) of a short dSFT that keeps no adapters and of the same that does."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [check_dialogue(row) for row in data.dialogues(72)]
    save_records(rows, folder / "rows.parquet")
    short = {"per_device_train_batch_size": 4, "max_steps": STEPS, "save_steps": 2}
    recipe = get_scale("miniature").recipe("dsft", **short)
    results = {
        keep: train_dsft(
            folder / str(keep), str(BASE_FOLDER), folder / "rows.parquet", recipe, keep=keep
        )
        for keep in (False, True)
    }
    return folder, results, recipe


@pytest.mark.slow
def test_keeping_adapters_changes_no_bit_of_the_model(made):
    folder, results, _ = made
    for file in ("model/model.safetensors", f"adapter/{WEIGHTS}"):
        one, two = ((folder / str(keep) / file).read_bytes() for keep in results)
        assert one == two, file
    assert results[False] == results[True]
    left = {keep: {path.name for path in (folder / str(keep)).iterdir()} for keep in results}
    assert left[True] - left[False] == {KEPT_ADAPTERS}


@pytest.mark.slow
def test_the_last_kept_adapter_is_dsfts_own_and_the_others_led_to_it(made):
    kept = made[0] / "True" / KEPT_ADAPTERS
    names = [step_folder(step) for step in halved_steps(STEPS)]
    assert {path.name for path in kept.iterdir()} == set(names)
    assert (kept / names[-1] / WEIGHTS).read_bytes() == (
        made[0] / "True" / "adapter" / WEIGHTS
    ).read_bytes()
    norms = []
    for name in names:
        tensors = load_file(kept / name / WEIGHTS)
        b = [values for place, values in tensors.items() if "lora_B" in place]
        norms.append(float(sum(values.square().sum() for values in b)))
    assert norms == sorted(set(norms)), "each is further from the start than the one before"


@pytest.mark.slow
def test_a_training_of_all_weights_keeps_no_adapters(monkeypatch, made, tmp_path):
    given = []
    monkeypatch.setattr(
        dsft.training, "dsft", lambda *_, callbacks, **__: given.append(callbacks) or UNTRAINED
    )
    recipe = get_scale("miniature").recipe("dsft", use_peft=False)
    train_dsft(tmp_path, str(BASE_FOLDER), made[0] / "rows.parquet", recipe, keep=True)
    assert given == [()]


@pytest.mark.slow
def test_loss_and_right_answers_are_those_of_the_models(made, tmp_path):
    folder, results, recipe = made
    steps = halved_steps(STEPS)
    kept = {step: folder / "True" / KEPT_ADAPTERS / step_folder(step) for step in steps}
    measured = measure_dsft_checkpoints(
        tmp_path,
        str(BASE_FOLDER),
        kept,
        folder / "rows.parquet",
        recipe["max_length"],
        QUESTIONS,
        TeacherJudge(),
        LONGEST,
    )
    points = measured["points"]
    assert [(point["step"], point["factor"]) for point in points] == [
        (step, 1.0) for step in (0, *steps)
    ]
    trained = results[True]
    assert points[0]["loss"] == pytest.approx(trained["held_out_loss_before"], abs=1e-5)
    assert points[-1]["loss"] == pytest.approx(trained["held_out_loss"], abs=1e-4)
    assert measured["rows_held_out"] == trained["rows_held_out"]
    model, tokenizer = load_model(folder / "True" / training.MODEL, dtype="float32")
    how = {"temperature": 0.0, "max_new_tokens": LONGEST}
    exam = run_exam(model, tokenizer, "one", QUESTIONS, tmp_path, TeacherJudge(), **how)
    assert points[-1]["right"] == pytest.approx(exam["right"])
    assert measured["answers"] == 2 * len(QUESTIONS)
