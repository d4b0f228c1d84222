"""Results are refused, and what changed is named, when anything that they rest on has changed."""

import dataclasses

import pytest

from zephyr_utils import scales
from zephyr_utils.ablations import catalogue, results
from zephyr_utils.ablations.catalogue import ABLATIONS
from zephyr_utils.ablations.methods.catalogue import methods_provenance
from zephyr_utils.miniature import data, judge, newcomers_study, outside, teacher
from zephyr_utils.pipeline.pipeline import PAIRING

PROVENANCES = {
    "claims": results.provenance,
    "methods": methods_provenance,
    "newcomers": newcomers_study.newcomers_provenance,
}
LESS_OFTEN_RIGHT = teacher.Habits({**data.TEACHER.contents, "right": 0.88}, data.TEACHER.manners)


def recipe_words(row):
    return f"recipe of {row.replace('_', ' ')}"


@pytest.fixture(scope="module")
def unchanged():
    return results.provenance()


@pytest.mark.parametrize(
    ("module", "constant", "value", "named"),
    [
        (data, "DIALOGUES", 4_000, ("world",)),
        (data, "PROMPTS", 2_000, ("world",)),
        (data, "CAPITALISED", 0.05, ("world",)),
        (data, "TEACHER", LESS_OFTEN_RIGHT, ("world",)),
        (outside, "SUBJECTS", (*outside.SUBJECTS, "rugby"), ("world",)),
        (data, "QUESTIONS_PER_CATEGORY", 40, ("world", "exam")),
    ],
)
def test_a_change_of_the_records_is_named(module, constant, value, named, unchanged, monkeypatch):
    monkeypatch.setattr(module, constant, value)
    assert results.changes_since(unchanged) == named


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.0},
        {"max_new_tokens": 48},
        {"draw": lambda seed: data.questions(seed)[:-1]},
        {"draw": lambda seed: data.questions(seed + 1)},
    ],
)
def test_a_change_of_the_exam_is_named(changes, unchanged, monkeypatch):
    scale = scales.SCALES[scales.DEFAULT_SCALE]
    another = dataclasses.replace(scale, exam=dataclasses.replace(scale.exam, **changes))
    monkeypatch.setitem(scales.SCALES, scale.name, another)
    assert results.changes_since(unchanged) == ("exam",)


def test_a_change_of_how_pairs_are_made_is_named(unchanged, monkeypatch):
    monkeypatch.setitem(PAIRING, "ties", "keep")
    assert results.changes_since(unchanged) == ("pairing",)


def test_the_grade_that_a_right_answer_begins_at_belongs_to_the_exam(unchanged, monkeypatch):
    monkeypatch.setattr(judge.TeacherJudge, "right_from", 6.0)
    assert results.changes_since(unchanged) == ("exam",)


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("lowest", {"pairs": {"rejected": "random"}}),
        ("few_after_one", {"start": "dsft"}),
        ("own_random", {"answers": "feedback"}),
        ("dsft_more", {"as_many_as": ""}),
        ("by_heart", {"epochs": 2}),
        ("ipo", {"recipe": {"loss_type": ["hinge"]}}),
    ],
)
def test_a_change_of_what_makes_a_row_names_the_row(row, changes, unchanged, monkeypatch):
    monkeypatch.setitem(ABLATIONS, row, dataclasses.replace(ABLATIONS[row], **changes))
    assert results.changes_since(unchanged) == (recipe_words(row),)


def test_another_share_of_the_pairs_names_the_rows_that_train_on_it(unchanged, monkeypatch):
    monkeypatch.setattr(catalogue, "FEW", 0.5)
    few = [row.name for row in ABLATIONS.values() if row.trains and row.few]
    assert results.changes_since(unchanged) == tuple(map(recipe_words, few))
    assert "lowest" in few and "dsft_2" not in few


def test_another_wording_of_a_label_changes_no_result(unchanged, monkeypatch):
    monkeypatch.setitem(ABLATIONS, "ipo", dataclasses.replace(ABLATIONS["ipo"], label="another"))
    assert results.changes_since(unchanged) == ()


@pytest.mark.parametrize("study", ["methods", "newcomers"])
def test_every_study_rests_on_the_same_records_pairs_exam_and_recipes(study, unchanged):
    shared = {"base_model", "world", "pairing", "exam", "recipes"}
    rests_on = PROVENANCES[study]()
    assert {name: rests_on.get(name) for name in shared} == {
        name: unchanged[name] for name in shared
    }


@pytest.mark.parametrize("study", PROVENANCES)
def test_the_committed_results_are_of_this_code(study):
    found = results.committed(f"{study}.json", PROVENANCES[study])
    assert found.measured and found.changed == ()
