"""One question to several models side by side: answers computed beforehand, and the reader's own
question where a kernel runs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import traitlets

from zephyr_utils.chat import Answer, generate, load_model, prepare_tokenizer
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import Explorer, script

LONGEST_QUESTION = 500  # characters: what a text box is good for


class Answers(Explorer):
    """Questions put to models side by side. The static page picks among them; with a kernel readers
    type their own.

    The script greets the kernel with ``{kind: "hello"}``; only when the kernel answers does the
    text box open.

    Args:
        models: name as shown -> model directory. One is in memory at a time.
        questions: what is asked beforehand, one user turn each.
        grade: gives ``(question, answer)`` a grade with ``score`` and ``reason``, or None where it
            cannot judge.
        sampling: passed to `chat.generate`; greedy unless a `temperature` is given.

    Attributes:
        models: the names, in the order shown.
        exchanges: ``[{question, answers: [{text, ended, tokens, score, reason}]}]``, one
            answer per model.

    Raises:
        HandbookError: a directory holds no model, or a question fills a model's context.
    """

    _esm = script("answers")

    models: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    exchanges: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)

    def __init__(
        self,
        models: Mapping[str, str],
        questions: list[str],
        grade: Callable[[str, str], Any] | None = None,
        **sampling: Any,
    ) -> None:
        self._directories, self._grade = dict(models), grade
        self._sampling = {"temperature": 0.0, **sampling}
        super().__init__(models=list(models), exchanges=self.ask(questions))
        self.on_msg(self._heard)

    def ask(self, questions: list[str]) -> list[dict[str, Any]]:
        """Put questions to all models; returns exchanges in the form of `exchanges`."""
        conversations = [[{"role": "user", "content": question}] for question in questions]
        columns = []
        for directory in self._directories.values():
            model, tokenizer = load_model(directory)
            prepare_tokenizer(tokenizer)
            columns.append(generate(model, tokenizer, conversations, **self._sampling))
        return [
            {"question": question, "answers": [self._shown(question, answer) for answer in row]}
            for question, *row in zip(questions, *columns, strict=True)
        ]

    def _shown(self, question: str, answer: Answer) -> dict[str, Any]:
        grade = self._grade(question, answer.text) if self._grade else None
        shown = {"text": answer.text, "ended": answer.ended, "tokens": answer.n_tokens}
        return {
            **shown,
            "score": grade.score if grade else None,
            "reason": grade.reason if grade else "",
        }

    def _heard(self, _: Any, content: dict[str, Any], __: Any) -> None:
        if content.get("kind") == "hello":
            self.send({"kind": "ready"})
        if content.get("kind") != "ask":
            return
        question = str(content.get("question", "")).strip()[:LONGEST_QUESTION]
        if not question:
            return
        try:
            [exchange] = self.ask([question])
        # a question too long for the model, say: the reader can shorten it
        except HandbookError as error:
            self.send({"kind": "error", "text": str(error)})
        else:
            self.send({"kind": "answered", "exchange": exchange})
