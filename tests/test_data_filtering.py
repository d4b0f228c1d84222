"""Refusals and leaked questions: what is found, what is left alone, and that every row
is counted.
"""

import gzip
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_records import REAL, needs

from zephyr_utils.data.filtering import (
    REFUSAL_PHRASES,
    Contaminated,
    Refusal,
    decontaminate,
    first_turns,
    normalize,
    refusal_filter,
)
from zephyr_utils.data.records import RecordError
from zephyr_utils.errors import HandbookError

QUESTION = "What happens to you if you eat watermelon seeds?"
SHORT = "How tall is Mount Everest?"
LONG = (
    "A farmer keeps eleven sheep, four goats and a very old horse in a field beside the river; "
    "after the flood in "
    "spring he sells half of the goats and buys three more sheep: how many animals are in the "
    "field by summer?"
)


def dialogue(*turns):
    return {
        "messages": [
            {"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)
        ]
    }


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "phrase", "family"),
    [
        ("I don't have emotions, but", "i do not have emotion", "emotions"),
        ("i DON’T have\npersonal  Opinions.", "i do not have personal opinion", "opinions"),
        ("Well, I do not have personal experience with "
         "it", "i do not have personal experience", "personal experience"),
        ("I'm just an AI, sorry.", "i am just an ai", "as an AI"),
        ("As an AI language model, I don't have feelings", "as an ai", "as an AI"),
        ("I am unable to feel pain", "i cannot feel", "emotions"),
    ],
)  # fmt: skip
def test_a_disclaimer_is_found_whatever_its_case_apostrophes_and_contractions(text, phrase, family):
    found = refusal_filter([text])
    assert found.removed == [Refusal(0, phrase, family)] and found.counts == {phrase: 1}


@pytest.mark.parametrize(
    "text",
    ["You don't have emotions.", "She said I have opinions.", "As an aid worker, I went.",
     "Hawaii does not have feelings", ""],
)  # fmt: skip
def test_text_that_only_resembles_a_disclaimer_is_kept(text):
    assert refusal_filter([text]).kept == [0]


def test_any_assistant_turn_counts_and_no_user_turn_does():
    refusal = "I don't have personal preferences."
    found = refusal_filter(
        [dialogue("Hi", "Hello.", "Which?", refusal), dialogue(refusal, "Nor do I.")]
    )
    assert found.kept == [1] and found.removed[0].index == 0
    assert found.report().startswith("2 rows in = 1 out + 1 set aside\n  1 x ")
    assert found.select(["a", "b"]) == ["b"]


def test_every_published_phrase_finds_itself_and_belongs_to_one_family():
    phrases = [phrase for members in REFUSAL_PHRASES.values() for phrase in members]
    assert len(phrases) == len(set(phrases)) and set(REFUSAL_PHRASES) == {
        "emotions", "opinions", "personal experience", "as an AI",
    }  # fmt: skip
    assert refusal_filter(phrases).kept == []


def test_a_list_of_ones_own_replaces_the_published_one():
    found = refusal_filter(["I cannot help.", "I have no feelings."], {"help": ["i cannot help"]})
    assert (found.kept, found.removed[0].family) == ([1], "help")
    assert refusal_filter(["I have no feelings."], {}).kept == [0]


def test_a_row_that_is_not_a_dialogue_is_refused():
    with pytest.raises(HandbookError, match="'messages'"):
        refusal_filter([{"prompt": "Hi"}])


@needs("truecasing")
def test_three_families_match_most_real_echoes_of_the_fault_and_one_in_two_hundred_clean_answers():
    def share(name, phrases):
        with gzip.open(REAL / "truecasing" / name, "rt") as rows:
            records = [json.loads(row) for row in rows]
        texts = [r["text"] for r in records if r.get("role", "assistant") == "assistant"]
        return len(refusal_filter(texts, phrases).removed) / len(texts)

    disclaimers = {
        family: members for family, members in REFUSAL_PHRASES.items() if family != "as an AI"
    }
    assert 0.55 < share("real_capitalize_echoes.jsonl.gz", disclaimers) < 0.65
    assert share("train.jsonl.gz", disclaimers) < 0.006
    assert share("clean_other_models.jsonl.gz", disclaimers) < 0.012


# --- contamination --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "reference", "rule"),
    [
        (QUESTION, QUESTION, "exact"),
        (QUESTION.upper(), QUESTION, "normalized"),
        ("what happens to you, if you eat   watermelon seeds", QUESTION, "normalized"),
        ("Ｈｏｗ tall is Mount Everest", SHORT, "normalized"),
        (f"Answer in one line: {QUESTION} Thank you.", QUESTION, "ngram"),
        (f"Tell me - {SHORT.lower()}", SHORT, "ngram"),
        (f"Solve this. {LONG.replace('spring', 'autumn')} Show your work.", LONG, "ngram"),
    ],
)
def test_each_rule_finds_what_the_one_before_it_lets_pass(prompt, reference, rule):
    found = decontaminate([prompt, "What is the capital of France?"], [SHORT, QUESTION, LONG])
    assert (
        found.kept == [1]
        and found.removed == [Contaminated(0, rule, reference)]
        and found.counts == {rule: 1}
    )


@pytest.mark.parametrize(
    ("prompt", "reference"),
    [
        ("How tall is Mount Kenya?", SHORT),
        ("What happens to you if you eat too much bread?", QUESTION),
        (
            "Could you provide a brief summary of the plot of my book?",
            "Could you provide a brief summary of the road?",
        ),
        ("Tell me, why not?", "Why not?"),
        ("!!!", "???"),
        ("mount everest is how tall", SHORT),
    ],
)
def test_a_turn_of_phrase_in_common_is_not_a_leak(prompt, reference):
    assert decontaminate([prompt], [reference]).kept == [0]


def test_a_share_of_zero_takes_one_run_in_common_for_a_leak():
    prompts, references = ["Could you provide a brief summary of the film?"], [
        "Could you provide a brief summary of the book, and say whom it is for?"
    ]  # fmt: skip
    assert decontaminate(prompts, references).kept == [0]
    assert decontaminate(prompts, references, share=0).removed[0].rule == "ngram"


def test_of_several_references_the_one_found_most_whole_is_named():
    assert (
        decontaminate([f"Now: {QUESTION} Why?"], [SHORT, QUESTION + " Why?", QUESTION])
        .removed[0]
        .matched
        == QUESTION + " Why?"
    )


@pytest.mark.parametrize("options", [{"ngram": 0}, {"share": -0.1}, {"share": 1.1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(HandbookError, match="decontaminate"):
        decontaminate([QUESTION], [QUESTION], **options)


def test_questions_are_read_by_their_first_turns_and_a_row_without_turns_is_named(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"turns": ["Why\u2028not?", "And?"]}, ensure_ascii=False) + "\n")
    assert first_turns(path) == ["Why\u2028not?"]
    for row in ({"prompt": "Hi"}, {"turns": []}, {"turns": "Hi"}, {"turns": [None]}, 5):
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(RecordError, match=r"row 1: the row is not a question"):
            first_turns(path)


WORDS = st.lists(st.sampled_from("abcdef"), max_size=12).map(" ".join)


@given(
    st.lists(WORDS, max_size=6),
    st.lists(WORDS, max_size=6),
    st.integers(1, 4),
    st.sampled_from([0, 0.5, 1]),
)
def test_the_table_of_runs_agrees_with_comparing_every_prompt_with_every_reference(
    prompts, references, ngram, share
):
    def runs(words, size):
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}

    def inside(prompt, reference):
        words, of = prompt.split(), reference.split()
        if not of or len(of) < min(3, ngram):
            return False
        wanted = runs(of, min(ngram, len(of)))
        return len(wanted & runs(words, min(ngram, len(of)))) >= max(share * len(wanted), 1)

    found = decontaminate(prompts, references, ngram=ngram, share=share, shortest=3)
    leaked = [p in references or any(inside(p, r) for r in references) for p in prompts]
    assert found.kept == [i for i, leak in enumerate(leaked) if not leak]
    assert len(found.removed) == sum(leaked) == sum(found.counts.values())


def test_normalising_twice_changes_nothing():
    for text in (LONG, "Straße_ÜBER  ﬁne!", "Ｈｏｗ", ""):
        assert normalize(normalize(text)) == normalize(text)


@needs("ultrafeedback_schema")
def test_questions_planted_among_real_prompts_are_found_and_no_other_prompt_is():
    folder = REAL / "ultrafeedback_schema"
    rows = (folder / "truthful_qa_stage0.shared.jsonl").read_text().splitlines()
    questions = [json.loads(row)["instruction"] for row in rows]
    rows = (
        (REAL / "ultrafeedback_binarized_sample" / "train_clean.shared.jsonl")
        .read_text()
        .splitlines()
    )
    prompts = [json.loads(row)["prompt"] for row in rows]
    assert decontaminate(prompts, questions).removed == []
    long_enough = [q for q in questions if len(normalize(q).split()) >= 5]
    planted = [
        f"Please help me with this. {q} Be brief." for q in random.Random(0).sample(long_enough, 50)
    ]
    assert len(decontaminate(prompts + planted, questions).kept) == len(prompts)
