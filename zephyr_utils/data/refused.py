"""Known layouts that are refused by name, because a conversion would guess; see `layouts`."""

from zephyr_utils.data.fields import Fields, has
from zephyr_utils.data.layouts import Refused, has_pair, has_texts, label_of
from zephyr_utils.data.pair_sides import context_field, is_rendered

_MEDIA = ("image", "images", "video", "videos", "audio", "audios")

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
    lambda row: label_of(row) is not None,
    "labelled_answer",
    "good and bad answers are side by side here, and a dialogue is trained on as it is: keep the "
    "rows whose label is true, or give the file as preferences; if the label says something else, "
    "remove it",
    {
        "messages": [
            {"role": "user", "content": "Name a river."},
            {"role": "assistant", "content": "The moon."},
        ],
        "label": False,
    },
)
LABEL_STUDIO = Refused(
    "Label Studio",
    "dialogue",
    "data (an object), annotations",
    lambda row: isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list),
    "other_layout",
    "export it as JSON_MIN or CSV, and name the columns as one of the layouts has them",
    {"data": {"prompt": "Name a river."}, "annotations": [{"result": []}]},
)
LISTED_ANSWERS = Refused(
    "LLaMA-Factory, earlier pairs",
    "dialogue",
    "instruction, output (a list of two texts)",
    lambda row: has(row, "instruction") and _texts(row.get("output")),
    "several_answers",
    "the first text is the better one: write it as chosen and the other as rejected, and give the "
    "file as preferences",
    {"instruction": "Name a river.", "output": ["The Rhine.", "The moon."]},
)
OTHER_MEDIA = Refused(
    "images, sound or video beside the text",
    "dialogue",
    "images, videos or audios beside a text layout",
    lambda row: any(_filled(row.get(field)) for field in _MEDIA),
    "not_text",
    "only text is trained on here: remove the row, or set it aside",
    {
        "messages": [
            {"role": "user", "content": "<image>What is it?"},
            {"role": "assistant", "content": "A river."},
        ],
        "images": ["river.png"],
    },
)
REFUSED_DIALOGUES = (TREE, LABEL_STUDIO, OTHER_MEDIA, LABELLED, LISTED_ANSWERS)

_RENAME = "rename the better answer to chosen and the other to rejected, the question to prompt"


def _filled(value: object) -> bool:
    """Whether a column holds something, and not what tables fill empty cells with."""
    if isinstance(value, list):
        return any(_filled(item) for item in value)
    return isinstance(value, str | bytes | dict) and len(value) > 0


def _texts(value: object) -> bool:
    """Whether a column holds several answers, none of them a message as text."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(item, str) and not item.lstrip().startswith("{") for item in value)
    )


def _several(row: Fields) -> bool:
    return any(_texts(row.get(field)) for field in ("chosen", "rejected", "rejected_response"))


_ANSWER_COLUMNS = ("response", "answer", "completion", "output", "model", "conversation")


def _names_column(row: Fields, field: str) -> bool:
    """Whether a side is the name of a column with an answer, or the name's last part."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        return False
    name = value.strip().lower()
    names = {f"{stem}_{name}" for stem in _ANSWER_COLUMNS}
    names |= {name} if name.startswith(tuple(f"{stem}_" for stem in _ANSWER_COLUMNS)) else set()
    columns = {str(column).lower() for column, held in row.items() if isinstance(held, str | list)}
    return bool(names & columns)


# What others call two answers of which a field of its own says which is better.
_SIDES = (
    ("response_0", "response_1"),
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("output_1", "output_2"),
    ("answer1", "answer2"),
    ("orig_response_A", "orig_response_B"),
)


REFUSED_PAIRS = (
    TREE,
    LABEL_STUDIO,
    OTHER_MEDIA,
    LISTED_ANSWERS,
    Refused(
        "Step-DPO, next steps of a solution",
        "preference",
        "initial_reason_steps, chosen, rejected",
        lambda row: _filled(row.get("initial_reason_steps")) and has_pair(row),
        "other_layout",
        "chosen and rejected continue from these steps, which would be lost: write them at the end "
        "of the prompt or before both answers, and remove the column",
        {
            "prompt": "What is 2 + 3 * 4?",
            "initial_reason_steps": "First, 3 * 4 = 12.",
            "chosen": "Then, 2 + 12 = 14.",
            "rejected": "Then, 5 * 4 = 20.",
        },
    ),
    Refused(
        "several rejected answers in a row",
        "preference",
        "chosen, rejected (or rejected_response: a list of texts)",
        _several,
        "several_answers",
        "write one row for each rejected answer",
        {"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": ["The moon.", "?"]},
    ),
    Refused(
        "answers in columns of their own, named by chosen and rejected",
        "preference",
        "response_a, response_b, chosen: a, rejected: b",
        lambda row: all(_names_column(row, field) for field in ("chosen", "rejected")),
        "other_layout",
        "chosen and rejected say which column holds the answer: write the answers there",
        {"prompt": "?", "response_a": "x", "response_b": "y", "chosen": "a", "rejected": "b"},
    ),
    Refused(
        "TRL implicit, text",
        "preference",
        "chosen, rejected (texts without a prompt)",
        lambda row: (
            has_texts(row, "chosen", "rejected")
            and not is_rendered(row)
            and not any(has(row, f) for f in ("prompt", "question", "input", "instruction"))
            and not has(row, context_field(row))
        ),
        "no_prompt",
        "where the question ends and the answer begins cannot be told from two texts: split them "
        "into prompt, chosen and rejected",
        {"chosen": "Name a river. The Rhine.", "rejected": "Name a river. The moon."},
    ),
    Refused(
        "PKU-SafeRLHF and the like",
        "preference",
        "response_0, response_1 (or response1, response2; output_1, output_2)",
        lambda row: any(has(row, *names) for names in _SIDES) and not has_pair(row),
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

REFUSED_FEEDBACK = (
    LABEL_STUDIO,
    Refused(
        "answers and ratings in lists, as distilabel and Argilla have them",
        "feedback",
        "instruction (or prompt), generations (or responses), ratings",
        lambda row: (
            (_texts(row.get("generations")) or _texts(row.get("responses")))
            and not has(row, "completions")
        ),
        "other_layout",
        "write completions: a list of objects with model, response, and overall_score or "
        "annotations",
        {"instruction": "Name a river.", "generations": ["The Rhine.", "?"], "ratings": [5, 1]},
    ),
)
