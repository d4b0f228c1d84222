"""On-policy pairs: a model's own answers as feedback records, rated by a judge.

`preferences.binarize` makes pairs of these records as of any others in UltraFeedback's schema.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat.decoding import Decoding
from zephyr_utils.chat.generation import PromptTooLongError, prompt_ids
from zephyr_utils.data.counts import RowCounts, SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.templates import refuse_rendered
from zephyr_utils.data.types import Completion, Feedback
from zephyr_utils.data.write import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.online.sampling import (
    Sample,
    as_conversation,
    refuse_equal_answers,
    sample_answers,
)
from zephyr_utils.progress import track

# What rates answers: given feedback records without ratings, it returns them with those it gave.
RateAnswers = Callable[[list[Feedback]], list[Feedback]]
PART = 512  # prompts sampled at once and kept, for a killed run to go on from


@dataclass(frozen=True)
class SamplingSettings:
    """How a model's own answers are drawn.

    Attributes:
        samples: answers to each prompt; to compare them with one another, two at least.
        temperature, top_p, max_new_tokens, seed: as for `sample_answers`.
    """

    samples: int = 4
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        self.require(1)
        Decoding(self.max_new_tokens, self.temperature, self.top_p, self.seed)  # for its errors
        refuse_equal_answers(self.samples, self.temperature)

    def require(self, least: int) -> None:
        """Refuse fewer answers to a prompt than a pair needs: two, or one beside a demonstration.

        Raises:
            HandbookError: there are fewer.
        """
        if self.samples < least:
            raise HandbookError(
                f"of {self.samples} answers to a prompt no pair can be made",
                where="samples",
                remedy=f"ask for {least} or more",
            )


@dataclass
class OwnFeedback:
    """Feedback records of a model's own answers, and what became of every prompt.

    Attributes:
        records: in the prompts' order, one for each prompt with enough different whole answers.
        set_aside: the other prompts, each with its reason.
        left_out: answers, not prompts, that are in no record, by reason.
    """

    records: list[Feedback] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def row_counts(self) -> RowCounts:
        """Prompts in = records + prompts set aside, by reason."""
        return RowCounts.of(len(self.records), self.set_aside)


def own_feedback(
    prompts: Sequence[str],
    answers: Sequence[Sequence[Sample]],
    model_name: str,
    least: int = 2,
) -> OwnFeedback:
    """Sampled answers as feedback records without ratings.

    An answer that was cut off takes no part: as the chosen one it would teach to end where it was
    cut. Nor does an empty one, nor one that begins with a marker of a chat template or ends with
    one, which small models write at a temperature of 1: readers of pairs refuse it. A prompt is set
    aside as ``no_whole_answer`` or ``one_whole_answer``, and as ``all_answers_equal`` where nothing
    can be preferred.

    Args:
        answers: to each prompt, as `sample_answers` returns them.
        model_name: of the model that gave them, for the records.
        least: different whole answers that a prompt needs; 1 where there is a demonstration too.
    """
    made = OwnFeedback()
    for number, (prompt, group) in enumerate(zip(prompts, answers, strict=True)):
        faults = [_fault(one) for one in group]
        whole = [(s, one) for s, one in enumerate(group) if not faults[s]]
        made.left_out.update(fault for fault in faults if fault)
        if len({one.text for _, one in whole}) >= least:
            completions = [_unrated(f"{model_name}, sample {s + 1}", one) for s, one in whole]
            models = [completion["model"] for completion in completions]
            made.records.append(
                {
                    "source": f"own answers of {model_name}",
                    "instruction": prompt,
                    "models": models,
                    "completions": completions,
                }
            )
            continue
        made.left_out["their prompt was set aside"] += len(whole)
        reasons = {0: "no_whole_answer", 1: "one_whole_answer"}
        reason = reasons.get(len(whole), "all_answers_equal")
        where = f"prompt {number + 1}"
        detail = f"{where}: {len(whole)} of {len(group)} answers are whole: {reason}"
        made.set_aside.append(SetAside(where, reason, detail, {"prompt": prompt}))
    made.left_out = +made.left_out  # without what is 0
    return made


def _fault(answer: Sample) -> str:
    """Why an answer takes no part in a pair; "" if it does."""
    if not answer.ended:
        return "cut off"
    if not answer.text:
        return "empty"
    try:
        refuse_rendered(answer.text, "")
    except RecordError:
        return "with a template's marker"
    return ""


def _unrated(name: str, answer: Sample) -> Completion:
    return {
        "model": name,
        "response": answer.text,
        "annotations": {},
        "critique": "",
        "overall_score": None,
    }


def fitting_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
) -> tuple[list[int], list[SetAside]]:
    """The numbers of the prompts that leave place for an answer, and the others, set aside as
    ``prompt_too_long``.
    """
    fitting, too_long = [], []
    for number, prompt in enumerate(prompts):
        where = f"prompt {number + 1}"
        try:
            prompt_ids(model, tokenizer, as_conversation(prompt), where, max_new_tokens)
        except PromptTooLongError as error:
            too_long.append(SetAside(where, "prompt_too_long", str(error), {"prompt": prompt}))
        else:
            fitting.append(number)
    return fitting, too_long


def sample_in_parts(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: SamplingSettings,
) -> list[list[Sample]]:
    """Answers to each prompt, kept in `folder` part by part; parts that are there are taken.

    The answers are the same however often it was stopped.

    Args:
        folder: holds nothing but the parts of the same call.
    """
    folder.mkdir(exist_ok=True)
    answers: list[list[Sample]] = []
    for start in track(range(0, len(prompts), PART), "prompts sampled, by parts"):
        path = folder / f"{start:07}.jsonl"
        if not path.is_file():
            made = sample_answers(
                model,
                prompts[start : start + PART],
                tokenizer=tokenizer,
                first_prompt=start,
                **asdict(settings),
            )
            save_records(({"answers": [asdict(one) for one in group]} for group in made), path)
        answers += read_samples(path)
    return answers


def read_samples(path: Path) -> list[list[Sample]]:
    """Answers that `sample_in_parts` kept in one file."""
    with path.open(encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [[Sample(**one) for one in row["answers"]] for row in rows]
