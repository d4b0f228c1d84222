"""The truecaser on real chat text: wide bounds around what ``benchmarks/truecasing.py`` measures in
full.
"""

import gzip
import json
import sys
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from real_records import REAL, needs

from zephyr_utils.truecasing import Truecaser, corrupt_case, detect_case_noise, truecasing_scores

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from truecasing_peers import naive_regex, project, sacremoses_trained, sentences

FIT_BYTES = 2_000_000  # a seventh of what there is, so that the fit takes seconds


def read(name: str) -> list[dict]:
    with gzip.open(REAL / "truecasing" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as rows:
        return [json.loads(row) for row in rows]


@cache
def training() -> list[str]:
    texts, held = [], 0
    for row in read("train")[::3]:
        texts.append(row["text"])
        held += len(row["text"])
        if held > FIT_BYTES:
            break
    return texts


@cache
def fitted() -> Truecaser:
    return Truecaser.fit(training())


@cache
def answers() -> list[str]:
    return [row["text"] for row in read("dev") if row["role"] == "assistant"][::8]


@needs("truecasing")
def test_capitals_come_back_in_real_answers_and_prose_fares_best():
    faulty = [corrupt_case(text, "capitalize") for text in answers()]
    repaired = fitted().truecase_batch(faulty)
    everything = truecasing_scores(answers(), faulty, repaired)
    prose = truecasing_scores(answers(), faulty, repaired, prose_only=True)
    assert 0.75 < everything.f1_capitalized < prose.f1_capitalized < 0.99
    assert prose.sentence_initial_accuracy > 0.97 and everything.precision > 0.88


@needs("truecasing")
def test_ours_is_ahead_of_sacremoses_on_the_same_text():
    moses = sacremoses_trained(training())
    reference = answers()[:80]
    faulty = [corrupt_case(text, "capitalize") for text in reference]
    theirs = [project(text, moses(text)) for text in faulty]
    for prose in (False, True):
        ours = truecasing_scores(
            reference, faulty, fitted().truecase_batch(faulty), prose_only=prose
        )
        assert (
            ours.f1_capitalized
            > truecasing_scores(reference, faulty, theirs, prose).f1_capitalized + 0.02
        )


@needs("truecasing")
def test_lowered_sentence_starts_are_found_in_real_prose():
    faulty = [corrupt_case(text, "sentence") for text in answers()]
    scores = truecasing_scores(answers(), faulty, fitted().truecase_batch(faulty), prose_only=True)
    assert scores.precision > 0.97 and scores.recall > 0.8


@needs("truecasing")
def test_well_cased_answers_of_other_models_are_left_alone_but_for_a_handful():
    texts = [row["text"] for row in read("clean_other_models")]
    altered = sum(a != b for a, b in zip(texts, fitted().truecase_batch(texts), strict=True))
    assert altered <= 0.006 * len(texts)  # some of them do hold the fault


@needs("truecasing")
@pytest.mark.parametrize("with_truecaser", [False, True])
def test_every_answer_that_str_capitalize_spoilt_is_detected(with_truecaser):
    texts = [row["text"] for row in read("real_capitalize_echoes")]
    spoilt = [text for text in texts if text.strip() == text.strip().capitalize()]
    assert len(spoilt) > 60
    labels = detect_case_noise(pa.array(spoilt), fitted() if with_truecaser else None).to_pylist()
    assert labels.count("ok") <= 0.02 * len(spoilt)


@needs("truecasing")
def test_repair_is_idempotent_on_real_text():
    texts = [
        corrupt_case(text, ("capitalize", "sentence")[n % 2]) for n, text in enumerate(answers())
    ]
    once = fitted().truecase_batch(texts)
    assert fitted().truecase_batch(once) == once


# --- the benchmark's own tools --------------------------------------------------------------------


def test_projection_takes_over_case_and_nothing_else():
    assert project("hello  ana.\nhow so?", "Hello Ana . How so ?") == "Hello  Ana.\nHow so?"
    assert project("hello ana", "Hello Ann") == "hello ana"


def test_the_naive_regex_is_the_one_described():
    assert (
        naive_regex("hello. how are you?\n\nfine, i am! ok")
        == "Hello. How are you?\n\nFine, i am! Ok"
    )


def test_peers_get_sentences_whole_or_from_their_first_letter_on():
    text = '- **Bold** one. "Two"!\n- three'
    assert sentences(text) == ["- **Bold** one.", '"Two"!', "- three"]
    assert sentences(text, from_first_letter=True) == ["Bold** one.", 'Two"!', "three"]
