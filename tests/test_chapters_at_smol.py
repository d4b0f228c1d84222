"""Chapters 02, 05, 06 and 07 from beginning to end at the scale ``smol/cpu``, on records shaped as
UltraChat's and UltraFeedback's and on a tiny chat model with a template of its own: nothing in them
may hold for the miniature alone.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from tiny import tiny_model, tiny_tokenizer

from zephyr_utils import verifiable
from zephyr_utils.miniature import data
from zephyr_utils.pipeline.artefacts import METRICS

pytestmark = pytest.mark.slow
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
# As SmolLM2's: a system turn of its own in front, and no marks around what the assistant writes.
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '[system]\nBe helpful.' + eos_token + '\n' }}{% endif %}"
    "{{ '[' + message['role'] + ']\n' + message['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\n' }}{% endif %}"
)
SHORT = {
    "max_steps": 4,
    "max_length": 256,
    "learning_rate": 2e-2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "save_strategy": "no",
}
THINGS = ("tea", "rain", "bread", "a long walk", "an old clock", "the sea")


def write_lines(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def words_about(thing: str, number: int) -> str:
    return f"About {thing}, in {number} words or so: {thing} is “fine” – naïve, but fine."


@pytest.fixture(scope="module")
def dials(tmp_path_factory) -> dict:
    """What the cell tagged ``parameters`` is given."""
    folder = tmp_path_factory.mktemp("smol")
    tokenizer = tiny_tokenizer(chat_template=TEMPLATE)
    tokenizer.save_pretrained(folder / "base")
    tiny_model(max_position_embeddings=2048).save_pretrained(folder / "base")
    asked = [(f"Tell me of {thing} ({n}).", thing, n) for n in range(12) for thing in THINGS]
    dialogues = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": words_about(thing, n)},
            ]
        }
        for question, thing, n in asked
    ]
    pairs = [
        {
            "prompt": question,
            "chosen": words_about(thing, n),
            "rejected": f"No idea of {thing}.",
            "metadata": {"score_chosen": 8.0, "score_rejected": 3.0},
        }
        for question, thing, n in asked
    ]
    return {
        "scale": "smol/cpu",
        "dialogues": write_lines(folder / "dialogues.jsonl", dialogues),
        "preferences": write_lines(folder / "pairs.jsonl", pairs),
        "base_model": str(folder / "base"),
        "runs": str(folder / "runs"),
        "settings": {"chat_template": "keep", "changes": {"dsft": SHORT, "ddpo": SHORT}},
    }


@pytest.fixture
def small_world(monkeypatch):
    """The miniature, whose training loop the chapters show at every scale, with few records."""
    for name, few in (("dialogues", 120), ("feedback", 60)):
        make = getattr(data, name)
        monkeypatch.setattr(data, name, lambda count=few, seed=0, make=make: make(count, seed))


@pytest.fixture
def explanations(monkeypatch) -> list[str]:
    """The boxes that a chapter shows, as HTML."""
    shown: list[str] = []
    monkeypatch.setattr(
        "zephyr_utils.lessons.explanation.display", lambda page: shown.append(page.data)
    )
    return shown


def run_chapter(name: str, dials: dict) -> None:
    """The code cells in one process, without a kernel, which would import TRL once per chapter."""
    variables = {"display": print, "get_ipython": None}
    for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "code":
            source = TransformerManager().transform_cell(cell.source)
            exec(compile(source, f"{name}, cell {cell.id}", "exec"), variables)
            if "parameters" in cell.metadata.get("tags", []):
                variables |= dials


@pytest.mark.parametrize(
    "name", ["02_dsft", "05_ddpo", "06_reward_margins", "07_evaluation"], ids=lambda name: name[:2]
)
@pytest.mark.usefixtures("small_world")
def test_a_chapter_holds_for_a_real_model_too(name, dials, explanations, monkeypatch, capsys):
    questions = verifiable.exam_questions()
    few = [question for question in questions if question["question_id"] % 10 == 1]
    monkeypatch.setattr(verifiable, "exam_questions", lambda: few)
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    monkeypatch.chdir(NOTEBOOKS)
    run_chapter(name, dials)
    printed = capsys.readouterr().out
    metrics = json.loads(
        (Path(dials["runs"]) / "smol" / "cpu-own-data" / name / METRICS).read_text("utf-8")
    )
    assert metrics
    said = " ".join(explanations)
    assert explanations and not re.search(r"\bnan\b", said)
    if name in ("02_dsft", "07_evaluation"):
        assert "a program that checks each answer" in printed
