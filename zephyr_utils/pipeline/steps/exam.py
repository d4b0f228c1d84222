"""Step 7: a model's answers to the exam, and their grades."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.chat import TemplateChoice, load_model, prepare_tokenizer
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion


def sit_exam(
    folder: Path,
    name: str,
    directory: str,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    *,
    adapter: Path | None = None,
    chat_template: TemplateChoice | None = None,
    **sampling: Any,
) -> dict[str, Any]:
    """Answers and grades of one model directory, in ``answers.jsonl`` and ``judgments.jsonl``.

    Args:
        folder: where both files are written.
        name: of the model, for the records.
        directory: the model.
        questions: in MT-Bench's schema.
        judge: who grades.
        adapter: a LoRA adapter that is merged into the model first.
        chat_template: as for `chat.prepare_tokenizer`.
        sampling: temperature, seed and max_new_tokens, as `run_exam` takes them.
    """
    model, tokenizer = load_model(directory, dtype="float32")
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    prepare_tokenizer(tokenizer, chat_template)
    return run_exam(model, tokenizer, name, questions, folder, judge, **sampling)
