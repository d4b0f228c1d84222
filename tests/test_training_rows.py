"""Which rows are trained on: nothing is cut in mid-answer, and every row that is left out is
counted.
"""

from collections import Counter

import pytest
from sample_records import PAIR
from tiny import tiny_tokenizer

from zephyr_utils.chat import encode, prepare_tokenizer
from zephyr_utils.errors import HandbookError
from zephyr_utils.training import rows as rows_module
from zephyr_utils.training.rows import (
    fit_dialogues,
    fit_pairs,
    hold_out,
    hold_out_pairs,
    split_prompt,
)


def ready_tokenizer():
    tokenizer = tiny_tokenizer()
    prepare_tokenizer(tokenizer)
    return tokenizer


def dialogue(exchanges, words=4):
    messages = []
    for n in range(exchanges):
        messages += [
            {"role": "user", "content": f"Question {n}"},
            {"role": "assistant", "content": "answer " * words},
        ]
    return {"prompt": f"Question of {exchanges}", "messages": messages}


def test_a_long_dialogue_keeps_the_whole_exchanges_that_fit():
    tokenizer = ready_tokenizer()
    two = len(encode(tokenizer, dialogue(2)["messages"])[0])
    fitted = fit_dialogues(tokenizer, [dialogue(1), dialogue(2), dialogue(5)], two)
    assert [len(row["messages"]) for row in fitted.rows] == [2, 4, 4]
    assert fitted.shortened == 1 and not fitted.set_aside
    assert all(
        encode(tokenizer, row["messages"])[0][-2] == tokenizer.eos_token_id for row in fitted.rows
    )


def test_every_exchange_that_fits_is_kept_whatever_the_limit():
    tokenizer = ready_tokenizer()
    messages = [{"role": "system", "content": "Be brief."}, *dialogue(6)["messages"]]
    lengths = {end: len(encode(tokenizer, messages[:end])[0]) for end in range(3, 14, 2)}
    for limit in range(lengths[3], lengths[13] + 2):
        fitted = fit_dialogues(tokenizer, [{"prompt": "", "messages": messages}], limit)
        fitting = max(end for end, length in lengths.items() if length <= limit)
        assert fitted.rows[0]["messages"] == messages[:fitting]


def test_a_long_dialogue_is_encoded_a_few_times_and_not_once_for_each_exchange(monkeypatch):
    tokenizer, calls = ready_tokenizer(), []
    whole = encode

    def counted(*arguments):
        calls.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(rows_module, "encode", counted)
    fitted = fit_dialogues(tokenizer, [dialogue(100)], 60)
    assert fitted.rows and fitted.shortened == 1 and len(calls) <= 8  # the whole, and log2 of 100


def test_a_dialogue_whose_first_exchange_is_too_long_is_set_aside_and_counted():
    fitted = fit_dialogues(ready_tokenizer(), [dialogue(1), dialogue(2, words=400)], 100)
    assert (
        len(fitted.rows) == 1
        and fitted.set_aside == {"first_exchange_too_long": 1}
        and fitted.rows_in == 2
    )
    assert "2 rows in, 1 kept" in fitted.report() and "1 first exchange too long" in fitted.report()
    fitted.set_aside = Counter(too_long=5999)
    assert fitted.report() == "6,000 rows in, 1 kept, set aside: 5,999 too long"


def pair(**changes):
    return PAIR | changes


def test_pairs_that_teach_nothing_are_set_aside_by_reason():
    user = PAIR["chosen"][:1]
    empty = [*user, {"role": "assistant", "content": "  "}]
    long = [*user, {"role": "assistant", "content": "word " * 300}]
    rows = [
        pair(),
        pair(score_rejected=PAIR["score_chosen"]),
        pair(rejected=PAIR["chosen"]),
        pair(rejected=empty),
        pair(chosen=long),
    ]
    fitted = fit_pairs(ready_tokenizer(), rows, 200)
    assert (
        len(fitted.rows) == 1 and sum(fitted.set_aside.values()) == 4 and len(fitted.set_aside) == 4
    )
    assert fitted.set_aside["too_long"] == 1


def test_where_no_row_can_be_trained_on_the_reasons_are_said():
    tokenizer, tied = ready_tokenizer(), pair(score_rejected=PAIR["score_chosen"])
    with pytest.raises(HandbookError, match="3 pairs can be trained on: 2 x tied, 1 x identical"):
        fit_pairs(tokenizer, [tied, pair(rejected=PAIR["chosen"]), tied], 200)
    with pytest.raises(HandbookError, match=r"1 dialogues .* 1 x first_exchange_too_long"):
        fit_dialogues(tokenizer, [dialogue(1, words=400)], 100)
    assert fit_pairs(tokenizer, [], 200).rows == fit_dialogues(tokenizer, [], 200).rows == []


def test_all_rows_of_a_prompt_fall_on_one_side_and_the_same_in_every_run():
    rows = [{"prompt": f"prompt {n % 50}", "n": n} for n in range(200)]
    train, held_out = hold_out(rows, 0.2)
    assert len(train) + len(held_out) == 200
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in held_out}
    assert hold_out(list(reversed(rows)), 0.2)[1] == list(reversed(held_out))


def test_of_a_very_small_set_one_prompt_is_held_out_all_the_same():
    rows = [{"prompt": name} for name in "abcd"]
    train, held_out = hold_out(rows, 0.001)
    assert len(train) == 3 and len(held_out) == 1


@pytest.mark.parametrize("prompts", [2, 3, 4])
def test_of_a_very_small_set_one_prompt_is_trained_on_all_the_same(prompts):
    for n in range(200):
        rows = [{"prompt": f"set {n}, prompt {number}"} for number in range(prompts)]
        train, held_out = hold_out_pairs(rows)
        assert train and held_out and len(train) + len(held_out) == prompts


@pytest.mark.parametrize(("count", "share"), [(100, 0.4), (400, 0.4), (1000, 0.16), (4000, 0.1)])
def test_of_few_pairs_more_are_held_out(count, share):
    train, held_out = hold_out_pairs([{"prompt": f"prompt {n}"} for n in range(count)])
    assert len(train) + len(held_out) == count and abs(len(held_out) / count - share) < 0.06


def test_a_single_prompt_leaves_none_to_measure_on_and_that_is_said():
    with pytest.raises(HandbookError, match=r"(?s)leave none to measure on.*give more rows"):
        hold_out([{"prompt": "one"}, {"prompt": "one"}], 0.05)


def test_a_pair_is_split_into_the_shared_messages_and_one_answer_each():
    split = split_prompt(PAIR)
    assert split["prompt"] == PAIR["chosen"][:1]
    assert [len(split[side]) for side in ("chosen", "rejected")] == [1, 1]
