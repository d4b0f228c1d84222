"""The layout of feedback, and the check of its rated answers."""

from typing import Any

from zephyr_utils.data.fields import (
    Fields,
    RecordError,
    at,
    check_number,
    check_text,
    has,
    present,
    required,
    text,
    wrong_type,
)
from zephyr_utils.data.layouts import Layout
from zephyr_utils.data.structure import not_structure, parse, turns_in_text
from zephyr_utils.data.templates import refuse_rendered
from zephyr_utils.data.turns import check_turns, listed, rows_of_columns, spoken
from zephyr_utils.data.types import ASPECTS, Annotation, Completion

# What others call a rating; which end of a rank is the better one is not to be guessed.
_OTHER_RATINGS = ("score", "rating", "ratings", "rank", "reward", "grade", "fine-grained_score")
_NOT_READ = "ratings in {} not read (they go into overall_score, higher is better)"
TEXT_IS_STRUCTURE = "text_is_structure"  # the reason of a row that is set aside
FEEDBACK: tuple[Layout[Fields], ...] = (
    Layout(
        "UltraFeedback",
        "feedback",
        "instruction, completions, source?",
        "",
        lambda row: has(row, "instruction") and "completions" in row,
        lambda row, where: row,
        {
            "source": "ours",
            "instruction": "Name a river.",
            "completions": [
                {
                    "model": "a",
                    "response": "The Rhine.",
                    "annotations": {"helpfulness": {"Rating": "5", "Rationale": "Right."}},
                    "critique": "Right.",
                    "overall_score": 9,
                },
                {"model": "b", "response": "The moon."},
            ],
        },
    ),
)


def check_instruction(row: Fields, where: str, notes: set[str]) -> str:
    """The instruction of a row of feedback: text, or one turn of the user.

    Raises:
        RecordError: as `fields.text` and `turns.check_turns`; or ``several_turns``.
    """
    if not isinstance(row["instruction"], list):
        instruction = text(row, "instruction", where, filled=True)
        refuse_rendered(instruction, at(where, "instruction"))
        return instruction
    turns = [*listed(row, "instruction", where), spoken("assistant", "-", where)]
    messages = check_turns(turns, at(where, "instruction"), notes)
    if len(messages) > 2:
        raise RecordError(
            "several_turns",
            "the instruction holds a conversation; a row of feedback has one turn of the user",
            where=at(where, "instruction"),
            remedy="give single questions, or make pairs of whole conversations",
        )
    return messages[0]["content"]


def check_completions(record: Fields, where: str, notes: set[str]) -> list[Completion]:
    """The rated answers of a row of feedback; what is not read of them is added to the notes.

    Raises:
        RecordError: with the reasons of `schema.check_feedback`.
    """
    place = at(where, "completions")
    value = rows_of_columns(required(record, "completions", where))
    if isinstance(value, str):
        raise not_structure(value, place)
    if not isinstance(value, list):
        raise wrong_type("a list", value, place)
    answers = [_check_completion(completion, f"{place}[{i}]") for i, completion in enumerate(value)]
    for given, answer in zip(value, answers, strict=True):
        if not answer["annotations"] and answer["overall_score"] is None:
            notes |= {_NOT_READ.format(name) for name in _OTHER_RATINGS if has(given, name)}
    return answers


def _check_completion(completion: Any, place: str) -> Completion:
    if not isinstance(completion, dict):
        raise wrong_type("an object with 'model' and 'response'", completion, place)
    annotations = completion.get("annotations") or {}
    if isinstance(annotations, str):
        annotations = parse(annotations, f"{place}.annotations")
    if not isinstance(annotations, dict):
        raise wrong_type(
            "an object with the four aspects", completion["annotations"], f"{place}.annotations"
        )
    aspects = _aspects(annotations, f"{place}.annotations")
    score = completion.get("overall_score")
    if score != score:  # NaN is how tables write what is missing
        score = None
    critique = completion.get("critique")
    return {
        "model": _inner_text(completion, "model", place),
        "response": _inner_text(completion, "response", place),
        "annotations": {
            aspect: _check_annotation(aspects[aspect], f"{place}.annotations.{aspect}")
            for aspect in ASPECTS
            if aspects.get(aspect) is not None
        },
        "critique": "" if critique is None else check_text(critique, f"{place}.critique"),
        "overall_score": None if score is None else check_number(score, f"{place}.overall_score"),
    }


def _aspects(annotations: Fields, place: str) -> Fields:
    """The annotations by aspect, however its name is written.

    Raises:
        RecordError: ``unknown_aspects``: none is known, so the answer would pass as not rated.
    """
    found = {"_".join(str(name).lower().split()): value for name, value in annotations.items()}
    filled = [name for name, value in annotations.items() if value is not None]
    if filled and not any(found.get(aspect) is not None for aspect in ASPECTS):
        raise RecordError(
            "unknown_aspects",
            f"no aspect that is known is annotated (there are: {present(dict.fromkeys(filled))})",
            where=place,
            remedy=f"the aspects are {', '.join(ASPECTS)}; a single grade goes into overall_score",
        )
    return found


def check_answer(response: str, place: str) -> None:
    """Refuse an answer that no pair may have: messages written as text, or a rendered turn.

    Raises:
        RecordError: ``text_is_structure``, ``broken_structure`` or ``templated_text``.
    """
    if turns_in_text(response, place) is not None:
        raise RecordError(
            TEXT_IS_STRUCTURE,
            "the text holds messages, and would be trained on as the text that it is",
            where=place,
            remedy="write the answer's content alone",
        )
    refuse_rendered(response, place)


def _check_annotation(annotation: Any, place: str) -> Annotation:
    if not isinstance(annotation, dict):
        raise wrong_type("an object with 'Rating' and 'Rationale'", annotation, place)
    written = {str(name).lower(): value for name, value in annotation.items()}
    if annotation and "rating" not in written:
        raise RecordError(
            "missing_field",
            f"the field is missing (the annotation has: {present(annotation)})",
            where=f"{place}.Rating",
            remedy="an annotation has 'Rating' and 'Rationale'",
        )
    rating, rationale = written.get("rating"), written.get("rationale")
    if rating is None or rating != rating:  # NaN is how tables write what is missing
        rating = "N/A"
    elif isinstance(rating, int | float) and not isinstance(rating, bool):
        check_number(rating, f"{place}.Rating")
        rating = str(rating)
    return {
        "Rating": check_text(rating, f"{place}.Rating"),
        "Rationale": "" if rationale is None else check_text(rationale, f"{place}.Rationale"),
    }


def _inner_text(completion: Fields, field: str, place: str) -> str:
    if field not in completion:
        raise RecordError(
            "missing_field",
            f"the field is missing (the answer has: {present(completion)})",
            where=f"{place}.{field}",
            remedy="add the field, or check that the file holds this kind of record",
        )
    return check_text(completion[field], f"{place}.{field}")
