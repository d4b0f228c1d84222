"""Pairs in every form that people write them become the same pair; what is none is refused."""

import pytest
from layout_rows import RIVER, TEXTS, assistant, pair, reason_of, system, user
from sample_records import PAIR

from zephyr_utils.data.records import check_preference

LONG = (system("Be brief."), user("Hi"), assistant("Hello."), user("Name a river."))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": list(LONG), "chosen": [assistant("The Rhine.")],
          "rejected": [assistant("The moon.")]}, pair(*LONG)),
        ({"prompt": user("Name a river."), "chosen": assistant("The Rhine."),
          "rejected": assistant("The moon.")}, RIVER),
        ({"prompt": [user("Name a river.")], **TEXTS}, RIVER),
        ({"prompt": "Name a river.", "chosen": [assistant("The Rhine.")],
          "rejected": [assistant("The moon.")]}, RIVER),
        ({"prompt": [user("Name a river.")], "chosen": RIVER["chosen"],
          "rejected": RIVER["rejected"]}, RIVER),
        ({"chosen": RIVER["chosen"], "rejected": [assistant("The moon.")]}, RIVER),
        ({"chosen": RIVER["chosen"], "rejected": "The moon."}, RIVER),
        ({"prompt": "Name a river.", "system": "Be brief.", **TEXTS},
         pair(system("Be brief."), user("Name a river."))),
        ({"prompt": " Name a river.\n", "chosen": RIVER["chosen"], "rejected": RIVER["rejected"]},
         RIVER),
        ({"input": "Name a river.", "system": "", "generations": ["x"], **TEXTS}, RIVER),
        ({"instruction": "Name a river.", "input": "", "history": [["Hi", "Hello."]],
          "system": "Be brief.", **TEXTS}, pair(*LONG)),
        ({"conversations": [{"from": "system", "value": "Be brief."},
                            {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."},
                            {"from": "human", "value": "Name a river."}],
          "chosen": {"from": "gpt", "value": "The Rhine."},
          "rejected": {"from": "gpt", "value": "The moon."}}, pair(*LONG)),
        ({"conversations": [user("Name a river.")], **TEXTS}, RIVER),
        ({"messages": [*LONG, assistant("The Rhine.")], "rejected_response": "The moon."},
         pair(*LONG)),
        ({"messages": RIVER["chosen"], "rejected_response": [assistant("The moon.")]}, RIVER),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Name a "
                    "river.\n\nAssistant:", "chosen": " The Rhine.", "rejected": " The moon."},
         pair(*LONG[1:])),
        ({"prompt": "Name a river.", "chosen": "\n\nHuman: Name a river.\n\nAssistant: The "
                                               "Rhine.", "rejected": "\n\nHuman: Name a "
                                                                     "river.\n\nAssistant: The "
                                                                     "moon."}, RIVER),
        ({"prompt": "Name a river.", "chosen": [{"content": "Name a river.", "role": "User"},
                                                {"content": "The Rhine.", "role": "Assistant"}],
          "rejected": RIVER["rejected"]}, RIVER),
        ({"chosen": [{"role": "user", "content": [{"type": "text", "text": "Name "},
                                                  {"type": "text", "text": "a river."}]},
                     assistant("The Rhine.")], "rejected": RIVER["rejected"]}, RIVER),
    ],
)  # fmt: skip
def test_a_pair_is_the_same_pair_in_every_way_that_people_write_it(row, expected):
    assert check_preference(row) == expected


@pytest.mark.parametrize(
    "row",
    [
        {"score_chosen": 8, "score_rejected": 3.5},
        {"score_chosen": "8", "score_rejected": "3.5"},
        {"chosen_score": 8, "rejected_score": 3.5},
        {"chosen_rating": 8, "rejected_rating": 3.5},
        {"chosen-rating": 8, "rejected-rating": 3.5},
        {"metadata": {"score_chosen": 8, "score_rejected": 3.5}},
    ],
)
def test_scores_are_kept_by_whichever_name_they_have(row):
    made = check_preference({"prompt": "Name a river.", **TEXTS, **row})
    assert (made["score_chosen"], made["score_rejected"]) == (8.0, 3.5)


def test_pairs_without_scores_are_pairs():
    assert "score_chosen" not in check_preference({"prompt": "Name a river.", **TEXTS})
    both_null = {"score_chosen": None, "score_rejected": None}
    assert check_preference({"prompt": "Name a river.", **TEXTS, **both_null}) == RIVER


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (PAIR | {"prompt": "Another question"}, "prompt_mismatch"),
        (PAIR | {"prompt": "Hello."}, "prompt_mismatch"),
        ({"prompt": [user("Another")], "chosen": PAIR["chosen"], "rejected": PAIR["rejected"]},
         "prompt_mismatch"),
        ({"prompt": "No", "chosen": "\n\nHuman: Hi\n\nAssistant: a",
          "rejected": "\n\nHuman: Hi\n\nAssistant: b"}, "prompt_mismatch"),
        ({"prompt": "", **TEXTS}, "empty_content"),
        ({"prompt": "Hi", "chosen": ["a"], "rejected": "b"}, "several_answers"),
        ({"prompt": "Hi", "chosen": "a", "rejected": None}, "missing_field"),
        ({"prompt": "Hi", "chosen": [], "rejected": "b"}, "empty_dialogue"),
        ({"prompt": [assistant("Hi")], "chosen": "a", "rejected": "b"}, "assistant_first"),
        ({"prompt": [user("Hi"), assistant("Hello.")], "chosen": "a", "rejected": "b"},
         "two_assistant_turns"),
        ({"instruction": "Hi", "history": ["a"], **TEXTS}, "wrong_type"),
        ({"prompt": "Hi", "chosen": [{"role": "tool", "content": "x"}], "rejected": "b"},
         "tool_turn"),
        ({"prompt": "Hi", "chosen": [{"role": "assistant", "content": None, "tool_calls": [1]}],
          "rejected": "b"}, "tool_turn"),
        ({"prompt": "Hi", "chosen": [{"role": "assistant", "content": [{"type": "image_url"}]}],
          "rejected": "b"}, "not_text"),
        ({"prompt": "Hi", **TEXTS, "score_chosen": 10**400, "score_rejected": 1}, "not_a_number"),
        ({"prompt": "Hi", **TEXTS, "score_chosen": "1" * 5000, "score_rejected": 1},
         "not_a_number"),
        ({"prompt": "Hi", **TEXTS, "chosen_score": 1}, "one_score"),
        ({"prompt": "Hi", "completion": "a", "label": True}, "unpaired"),
    ],
)  # fmt: skip
def test_a_pair_that_is_none_is_refused_by_its_reason(row, reason):
    assert reason_of(row) == reason
