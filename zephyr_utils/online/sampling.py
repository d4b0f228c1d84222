"""Several answers of a model to each prompt, with their log-probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat.decoding import Decoding, decode
from zephyr_utils.chat.generation import Answer, answer_text, prompt_ids
from zephyr_utils.chat.loading import load_model
from zephyr_utils.chat.special_tokens import Conversation
from zephyr_utils.chat.template import prepare_tokenizer
from zephyr_utils.errors import HandbookError

Prompt = str | Conversation


@dataclass(frozen=True)
class Sample(Answer):
    """A sampled answer.

    Attributes:
        token_ids: as drawn, the end-of-sequence token included; encoding the text again need not
            give the same.
        log_probs: of each token, in nats, under the model itself at temperature 1.
    """

    token_ids: list[int]
    log_probs: list[float]

    @property
    def log_prob(self) -> float:
        """log pi(answer | prompt), in nats."""
        return sum(self.log_probs)


@dataclass(frozen=True)
class SampleCounts:
    """What is remarkable about sampled answers.

    Attributes:
        prompts, answers: how many there are.
        cut_off: answers that did not end by themselves.
        empty: answers without text.
        all_equal: prompts whose answers all have one text.
    """

    prompts: int
    answers: int
    cut_off: int
    empty: int
    all_equal: int

    def report(self) -> str:
        """One line."""
        return (
            f"{self.answers:,} answers to {self.prompts:,} prompts: {self.cut_off:,} cut off, "
            f"{self.empty:,} empty; to {self.all_equal:,} prompts all answers are equal"
        )


def sample_answers(
    model: PreTrainedModel | str | Path,
    prompts: Sequence[Prompt],
    samples: int,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_new_tokens: int = 96,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    first_prompt: int = 0,
    batch_size: int | None = None,
) -> list[list[Sample]]:
    """`samples` answers to each prompt, in the prompts' order.

    Answer s to prompt p depends on (seed, p, s) and on the prompt, not on the other prompts, on how
    many answers are drawn nor on the batch size, up to rounding.

    Args:
        model: a model, or the directory of one.
        prompts: user turns, or conversations that end with one.
        tokenizer: of a model that is given loaded; it needs a chat template.
        temperature: 1 draws from the model's own distribution; 0 is greedy, for one sample alone.
        first_prompt: the number that the first prompt has in the draws, for prompts that are
            sampled part by part.
        batch_size: answers computed at once; None takes as many as memory is set aside for.

    Raises:
        HandbookError: no prompts, fewer than one sample, several greedy ones, a prompt that does
            not fit into the model's context; as `load_model`, `Decoding` and `decode`.
    """
    how = Decoding(max_new_tokens, temperature, top_p, seed, first_prompt)
    _check_request(prompts, samples, temperature)
    if isinstance(model, str | Path):
        model, tokenizer = load_model(model)
        prepare_tokenizer(tokenizer)
    if tokenizer is None:
        raise HandbookError(
            "a loaded model needs its tokenizer", where="tokenizer", remedy="give it as well"
        )
    asked = [
        prompt_ids(model, tokenizer, as_conversation(prompt), f"prompt {n}", max_new_tokens)
        for n, prompt in enumerate(prompts)
    ]
    made = decode(
        model,
        asked,
        how,
        samples=samples,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=batch_size,
    )
    return [
        [
            Sample(
                answer_text(tokenizer, one.token_ids),
                one.ended,
                len(one.token_ids),
                one.token_ids,
                one.log_probs,
            )
            for one in answers
        ]
        for answers in made
    ]


def count_samples(answers: Sequence[Sequence[Answer]]) -> SampleCounts:
    """Answers that are cut off or empty, and prompts to which all answers are equal.

    A single answer to a prompt is equal to no other.
    """
    each = [answer for group in answers for answer in group]
    return SampleCounts(
        prompts=len(answers),
        answers=len(each),
        cut_off=sum(not answer.ended for answer in each),
        empty=sum(not answer.text for answer in each),
        all_equal=sum(
            len(group) > 1 and len({answer.text for answer in group}) == 1 for group in answers
        ),
    )


def _check_request(prompts: Sequence[Prompt], samples: int, temperature: float) -> None:
    if not prompts:
        raise HandbookError(
            "there are no prompts to answer", where="prompts", remedy="give at least one"
        )
    if samples < 1:
        raise HandbookError(
            f"{samples} answers to a prompt were asked for",
            where="samples",
            remedy="ask for 1 or more",
        )
    refuse_equal_answers(samples, temperature)


def refuse_equal_answers(samples: int, temperature: float) -> None:
    """Refuse several greedy answers to a prompt.

    Raises:
        HandbookError: they are asked for.
    """
    if samples > 1 and not temperature:
        raise HandbookError(
            f"all {samples} greedy answers to a prompt would be equal",
            where="temperature 0",
            remedy="give a temperature above 0, or ask for 1 sample",
        )


def as_conversation(prompt: Prompt) -> Conversation:
    """A prompt as messages: a text is a user's turn."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
