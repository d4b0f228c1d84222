"""Known layouts that are refused by name, because a conversion would guess; see `layouts`."""

from zephyr_utils.data.fields import Fields, has
from zephyr_utils.data.layouts import Refused, has_pair, has_texts
from zephyr_utils.data.pair_layouts import is_rendered

TREE = Refused(
    "Open Assistant, message trees",
    "dialogue",
    "message_tree_id, prompt",
    lambda row: has(row, "message_tree_id"),
    "message_tree",
    "write one conversation a row: follow a path from the prompt to an answer",
    {"message_tree_id": "a", "prompt": {"text": "Name a river.", "role": "prompter"}},
)
LABELLED = Refused(
    "KTO, labelled answers",
    "dialogue",
    "messages (or prompt, completion), label",
    lambda row: isinstance(row.get("label"), bool) or has(row, "kto_tag"),
    "labelled_answer",
    "good and bad answers stand side by side here, and a dialogue is trained on as it is: keep the "
    "rows whose label is true, or give the file as preferences",
    {
        "messages": [
            {"role": "user", "content": "Name a river."},
            {"role": "assistant", "content": "The moon."},
        ],
        "label": False,
    },
)
REFUSED_DIALOGUES = (TREE, LABELLED)

_RENAME = "rename the better answer to chosen and the other to rejected, the question to prompt"


def _several(row: Fields) -> bool:
    lists = (row.get("chosen"), row.get("rejected"))
    return any(
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(item, str) and not item.lstrip().startswith("{") for item in value)
        for value in lists
    )


REFUSED_PAIRS = (
    TREE,
    Refused(
        "several rejected answers in a row",
        "preference",
        "chosen, rejected (a list of texts)",
        _several,
        "several_answers",
        "write one row for each rejected answer",
        {"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": ["The moon.", "?"]},
    ),
    Refused(
        "TRL implicit, text",
        "preference",
        "chosen, rejected (texts without a prompt)",
        lambda row: (
            has_texts(row, "chosen", "rejected")
            and not is_rendered(row)
            and not any(has(row, f) for f in ("prompt", "question", "input", "instruction"))
            and not has(row, "conversations")
        ),
        "no_prompt",
        "where the question ends and the answer begins cannot be told from two texts: split them "
        "into prompt, chosen and rejected",
        {"chosen": "Name a river. The Rhine.", "rejected": "Name a river. The moon."},
    ),
    Refused(
        "PKU-SafeRLHF and the like",
        "preference",
        "response_0, response_1",
        lambda row: (
            (has(row, "response_0", "response_1") or has(row, "response_1", "response_2"))
            and not has_pair(row)
        ),
        "other_layout",
        _RENAME,
        {"prompt": "?", "response_0": "a", "response_1": "b", "better_response_id": 0},
    ),
    Refused(
        "Stack Exchange, paired",
        "preference",
        "response_j, response_k",
        lambda row: has(row, "response_j", "response_k") and not has_pair(row),
        "other_layout",
        _RENAME,
        {"question": "?", "response_j": "a", "response_k": "b"},
    ),
    Refused(
        "Chatbot Arena, 55k",
        "preference",
        "prompt, response_a, response_b",
        lambda row: has(row, "response_a", "response_b") and not has_pair(row),
        "other_layout",
        "each field holds the turns of one speaker: leave ties out and write prompt, chosen and "
        "rejected",
        {"prompt": '["?"]', "response_a": '["a"]', "response_b": '["b"]', "winner_model_a": 1},
    ),
    Refused(
        "ranked answers, as Nectar has them",
        "preference",
        "prompt, answers",
        lambda row: has(row, "answers") and isinstance(row["answers"], list) and not has_pair(row),
        "other_layout",
        "write one row for each pair that you want: prompt, chosen, rejected",
        {"prompt": "?", "answers": [{"answer": "a", "rank": 1.0}, {"answer": "b", "rank": 2.0}]},
    ),
)
