"""Random models with random adapters, packed for a browser, and `model.js` on them in node."""

import base64
import random
from pathlib import Path
from typing import Any

import explorer_scripts
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny import save_base, tiny_model
from transformers import PreTrainedModel

from zephyr_utils.explorers.weights import BrowserModels

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# A server of models as the page has it, and its answers as promises.
SERVER = """
    const fs = await import("node:fs");
    const read = ({ header, payload }) => ({
        header, bytes: new Uint8Array(Buffer.from(payload, "base64")),
    });
    const weightsOf = async ({ header, bytes }) =>
        new script.Weights(header, await script.unpack(header, bytes));
    const waiting = new Map();
    const progress = [];
    const receive = script.makeServer((message) => {
        if (message.kind === "progress") return progress.push(message.pieces);
        const [give, fail] = waiting.get(message.id);
        message.kind === "done" ? give(message.result) : fail(new Error(message.text));
    });
    let number = 0;
    const request = (message) => new Promise((give, fail) => {
        waiting.set(++number, [give, fail]);
        receive({ ...message, id: number });
    });
"""


def in_node(values: Any, body: str) -> Any:
    """`explorer_scripts.in_node` for ``model.js``, with `read`, `weightsOf`, `request` and
    `progress`."""
    return explorer_scripts.in_node("model", values, SERVER + body)


def save_adapter(model: PreTrainedModel, folder: Path, seed: int, **config: Any) -> PreTrainedModel:
    """A random adapter of this model; returns the model with it merged in."""
    adapted: PeftModel = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, **config)
    )
    generator = torch.Generator().manual_seed(seed)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    adapted.save_pretrained(folder)
    return adapted.merge_and_unload()


def save_run(folder: Path) -> Path:
    """A random base model and adapters of it: dSFT, dDPO and a checkpoint."""
    save_base(folder / "base")
    for seed, name in enumerate(("dSFT", "dDPO", "checkpoint"), start=1):
        save_adapter(tiny_model(), folder / name, seed)
    return folder


def sent(packed: BrowserModels) -> dict[str, Any]:
    """Header and payload in a form that node is given."""
    return {"header": packed.header, "payload": base64.b64encode(packed.payload).decode()}


def megabytes(size: int) -> str:
    """A size in bytes as an explorer shows it."""
    return f"{size / 1e6:.{2 if size < 1e5 else 1}f} MB"


def right_answers_at(steps: list[int]) -> list[dict[str, Any]]:
    """How many answers might be right at these steps of a training."""
    share = {"right": 0.7, "right_low": 0.65, "right_high": 0.75}
    return [{"step": step, "factor": 1.0, **share} for step in steps]


def measured_at(steps: list[int], factors: list[float]) -> dict[str, Any]:
    """What might have been measured of dDPO at these steps of a training and beyond the last."""
    places = right_answers_at(steps)
    places += [{**places[-1], "factor": factor} for factor in factors]
    points = [
        {**place, "margin": 0.1 * n, "accuracy": 0.6, "margins": [0.2 * n, -0.3 * n]}
        for n, place in enumerate(places)
    ]
    pair = {"prompt": "<b>Which</b>?", "chosen": "This.", "rejected": "x" * 500}
    return {"points": points, "pairs": [pair, pair], "rows_held_out": 324, "answers": 200}


def three_models(folder: Path, **config: Any) -> tuple[dict[str, PreTrainedModel], dict[str, Path]]:
    """Random base, dSFT and dDPO in memory, and the adapters of the last two as saved."""
    models = {"base": save_base(folder / "base", **config)}
    adapters = {}
    below = tiny_model(**config)
    for seed, name in enumerate(("dSFT", "dDPO"), start=1):
        adapters[name] = folder / name
        below = save_adapter(below, adapters[name], seed)
        models[name] = below
        below = _copy(below)
    return models, adapters


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    return copy.eval()


CHARACTERS = (
    "abcdefghij ABC",
    "éàüßñçøåžłőğ",
    "שלום עולם مرحبا بالعالم",
    "你好世界日本語한국어",
    "🙂🇫🇷👩‍👩‍👧‍👦🏽❤️",
    "\t\n \r\u00a0\u2003\u3000\u0085\u2028\u200b\ufeff\x0b\x0c\x1c\x1f\x00\x07\x7f",
    "0123456789٣४½Ⅷ²",
    ".,;:!?'\"()[]{}<>|/\\@#$%^&*_-+=~`«»“”…—",
    "\u0301\u0308\u20dd\ufe0f\u200d\u202e\u2066\ue000\U000f0000\U0010fffd",
)
MARKERS = "<s> </s> <pad> <unk> <|user|> <|assistant|> <|system|>"
CODE = "def f(x):\n    return x\n"
PIECES = (
    *MARKERS.split(),
    *["<", "</", "s>", "'s", "'re", "'LL", "'ve", "don't", "{{x}}", "&amp;"],
    *(CODE, "  ", "\n\n", " \n ", "What is the capital of France?"),
)


def generated_text(rng: random.Random) -> str:
    """Scripts, emoji, spaces, code, markers and any character that Unicode has, mixed."""
    parts = []
    for _ in range(rng.randint(0, 12)):
        draw = rng.random()
        if draw < 0.35:
            parts.append(rng.choice(PIECES))
        elif draw < 0.9:
            parts += rng.choices(rng.choice(CHARACTERS), k=rng.randint(1, 8))
        else:
            parts.append(chr(rng.choice([*range(0xD800), rng.randrange(0xE000, 0x110000)])))
    return "".join(parts)


def generated_chat(rng: random.Random) -> list[dict[str, str]]:
    """A conversation that a user's turn ends, of generated texts."""
    roles = rng.choice((["user"], ["system", "user"], ["user", "assistant", "user"]))
    return [{"role": role, "content": generated_text(rng)} for role in roles]
