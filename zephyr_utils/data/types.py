"""The three record types of the field, as types; `schema` checks rows against them.

They are plain dictionaries when the program runs. A key marked ``NotRequired`` may be missing.
"""

from typing import Literal, NotRequired, TypedDict

Role = Literal["system", "user", "assistant"]
Kind = Literal["dialogue", "feedback", "preference"]
Aspect = Literal["instruction_following", "honesty", "truthfulness", "helpfulness"]

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
ASPECTS: tuple[Aspect, ...] = (
    "instruction_following",
    "honesty",
    "truthfulness",
    "helpfulness",
)
# What others call the roles, in lower case: OpenAI, ShareGPT, Open Assistant, Gemini.
SPEAKERS: dict[str, Role] = {
    **{role: role for role in ROLES},
    "developer": "system",
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "chatbot", "model", "ai"), "assistant"),
}
# Turns of programs, which none of the layouts here has.
TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython")


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


class Dialogue(TypedDict):
    """A conversation to train on, as ultrachat_200k has it."""

    prompt: str
    prompt_id: str
    messages: list[Message]


class Annotation(TypedDict):
    """A judge's rating of one aspect, as text ("4", "N/A"), and its reason."""

    Rating: str
    Rationale: str


class Completion(TypedDict):
    """One model's answer with what a judge said of it; ``overall_score`` is None if unrated."""

    model: str
    response: str
    annotations: dict[str, Annotation]  # by aspect; an aspect that was not rated is missing
    critique: str
    overall_score: float | None


class Feedback(TypedDict):
    """A prompt with several rated answers, as UltraFeedback has it."""

    source: str
    instruction: str
    models: list[str]
    completions: list[Completion]


class Preference(TypedDict):
    """A pair of answers to one conversation, as ultrafeedback_binarized has it.

    Most public sets of pairs have no scores: either both are there or none.
    """

    prompt: str
    prompt_id: str
    chosen: list[Message]
    rejected: list[Message]
    score_chosen: NotRequired[float]
    score_rejected: NotRequired[float]
    chosen_model: NotRequired[str]
    rejected_model: NotRequired[str]
