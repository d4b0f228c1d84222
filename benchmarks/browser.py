"""The models in a reader's browser beside those of PyTorch: bytes, tokens, logits, answers, grades.

    python benchmarks/browser.py            # equality, in node: ten minutes on one core
    python benchmarks/browser.py --chromium # memory and speed, in Debian's Chromium: a minute

Both measure base, dSFT and dDPO as they come with the package, packed as the website packs them,
and write their part of ``benchmarks/results/browser.json``:

- tokens of generated chats: emoji, scripts that run from right to left, code, markers of the
  template typed by a user;
- logits after the exam's questions, in float32, against PyTorch's;
- greedy answers to both turns of every fourth question of the exam, in the precision that a reader
  fetches. The second turn follows PyTorch's first answer, so each answer is compared by itself;
- the grades of these answers: of each grade its share, which should lie in the bootstrap interval
  of the share that PyTorch's answers have;
- of a run with checkpoints, the bytes of all that a reader fetches, and of each checkpoint how many
  tokens its rounding leaves what they are (`browser_checkpoints`);
- in Chromium the memory of the tab's process that nobody else has, before and after all three
  models have answered, and of each the tokens of its answers per second, beside those of PyTorch on
  the same questions in the same minutes, and the time to the first token.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

import torch  # noqa: E402
from browser_checkpoints import of_checkpoints  # noqa: E402
from browser_models import generated_chat  # noqa: E402
from browser_tab import in_chromium  # noqa: E402
from live_models import rounding_texts  # noqa: E402

from zephyr_utils.chat import encode_prompt, prepare_tokenizer  # noqa: E402
from zephyr_utils.evaluation import bootstrap_interval  # noqa: E402
from zephyr_utils.explorers.common import script  # noqa: E402
from zephyr_utils.explorers.weights import BrowserModels, pack_models  # noqa: E402
from zephyr_utils.files import read_json, write_json  # noqa: E402
from zephyr_utils.machine import environment_stamp  # noqa: E402
from zephyr_utils.miniature import BASE_FOLDER  # noqa: E402
from zephyr_utils.miniature.shipped import FOLDER, load_shipped  # noqa: E402
from zephyr_utils.online import sample_answers  # noqa: E402
from zephyr_utils.scales import get_scale  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "browser.json"
NAMES = {"base": "base", "dSFT": "dsft", "dDPO": "ddpo"}  # on the page -> in the package
GOALS = {
    "bytes": 2_500_000,
    "logits": 1e-4,
    "equal": 0.98,
    "memory_mb": 200,
    "tokens_per_second": 100,
    "seconds_to_the_first_token": 1.5,
}
EVERY = 4  # of the exam's questions
# Reads a file of what is asked, and writes one of what came out.
NODE = """
import { readFileSync, writeFileSync } from "node:fs";
const [engine, folder] = process.argv.slice(2);
const script = await import(engine);
const asked = JSON.parse(readFileSync(`${folder}/asked.json`));
const open = async (name) => {
  const header = JSON.parse(readFileSync(`${folder}/${name}.json`));
  const bytes = new Uint8Array(readFileSync(`${folder}/${header.file}`));
  return { header, bytes };
};
const exact = await open("exact");
const weights = new script.Weights(exact.header, await script.unpack(exact.header, exact.bytes));
const tokens = asked.chats.map((chat) => weights.tokenizer.encodeChat(chat, true));
const logits = Object.fromEntries(asked.names.map((name) => [name, asked.rows.map((row) => {
  const session = new script.Session(weights.model(name));
  return Array.from(row.map((id, n) => session.feed(id, n + 1 === row.length)).at(-1));
})]));
const waiting = new Map();
const receive = script.makeServer(({ kind, id, result, text }) => {
  if (kind === "done") waiting.get(id)[0](result);
  if (kind === "error") waiting.get(id)[1](new Error(text));
});
let number = 0;
const request = (message) => new Promise((give, fail) => {
  waiting.set(++number, [give, fail]);
  receive({ ...message, id: number });
});
await request({ kind: "load", ...await open("shipped") });
const greedy = { kind: "answer", temperature: 0, topP: 1, seed: 0 };
const answers = {};
for (const name of asked.names) {
  answers[name] = [];
  const chats = asked.conversations[name];
  const count = chats.length / 2;
  for (let question = 0; question < count; question++) {
    for (const turn of [question, count + question]) { // the cache holds the first for the second
      const how = { models: [name], conversations: [chats[turn]], longest: asked.longest };
      const { answers: [one] } = await request({ ...greedy, ...how });
      answers[name][turn] = [one.text, one.ended];
    }
  }
}
writeFileSync(`${folder}/out.json`, JSON.stringify({ tokens, logits, answers }));
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=5000, help="whose tokens are compared")
    parser.add_argument("--texts", type=int, default=200, help="whose logits are compared")
    parser.add_argument("--run", type=Path, help="a run with checkpoints, to measure these too")
    parser.add_argument("--chromium", action="store_true", help="memory and speed instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {**read_json(RESULTS), "goals": GOALS}
    if arguments.run:
        results |= of_checkpoints(arguments.run)
    if arguments.chromium:
        results["chromium"] = {"environment": environment_stamp(), **in_chromium(packed(), NAMES)}
    else:
        results |= {"environment": environment_stamp(), **compared(arguments)}
    write_json(RESULTS, results)
    print(json.dumps({name: part for name, part in results.items() if name != "environment"}))


def packed(precision: Any = "shipped") -> BrowserModels:
    """Base, dSFT and dDPO as they come with the package."""
    adapters = {name: FOLDER / folder for name, folder in NAMES.items() if name != "base"}
    return pack_models(BASE_FOLDER, adapters, precision, rounding_texts())


def compared(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tokens, logits, answers and grades, of model.js in node and of PyTorch."""
    exam = get_scale("miniature").exam
    questions = exam.questions()
    shipped = packed()
    rng = random.Random(0)
    chats = [generated_chat(rng) for _ in range(arguments.chats)]
    texts = [question["turns"][0] for question in questions][: arguments.texts]
    theirs: dict[str, list[Any]] = {}
    conversations: dict[str, list[Any]] = {}
    after: dict[str, torch.Tensor] = {}
    for name, folder in NAMES.items():
        model, tokenizer = load_shipped(folder)
        prepare_tokenizer(tokenizer)
        asked, answers = exam_answers(model.float(), tokenizer, questions[::EVERY])
        conversations[name], theirs[name] = asked, answers
        rows = [encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in texts]
        with torch.no_grad():
            after[name] = torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])
    ours = in_node(
        shipped,
        {
            "chats": chats,
            "rows": rows,
            "names": list(NAMES),
            "conversations": conversations,
            "longest": exam.max_new_tokens,
        },
    )
    wrong = sum(
        a != encode_prompt(tokenizer, chat) for a, chat in zip(ours["tokens"], chats, strict=True)
    )
    return {
        "tokens": {"chats": len(chats), "differing": wrong},
        "logits": {
            "texts": len(texts),
            "largest difference": {
                name: float((torch.tensor(ours["logits"][name]) - after[name]).abs().max())
                for name in NAMES
            },
        },
        "answers": {
            name: beside(questions[::EVERY], theirs[name], ours["answers"][name], exam.judge())
            for name in NAMES
        },
    }


def exam_answers(
    model: Any, tokenizer: Any, questions: Sequence[Any]
) -> tuple[list[Any], list[tuple[str, bool]]]:
    """Conversations up to each turn, all first turns before all second ones, and the answers."""
    asked = [[{"role": "user", "content": question["turns"][0]}] for question in questions]
    said = _greedy(model, tokenizer, asked)
    again = []
    for chat, (text, _), question in zip(asked, said, questions, strict=True):
        answer = {"role": "assistant", "content": text}
        again.append([*chat, answer, {"role": "user", "content": question["turns"][1]}])
    return asked + again, said + _greedy(model, tokenizer, again)


def _greedy(model: Any, tokenizer: Any, asked: Sequence[Any]) -> list[tuple[str, bool]]:
    made = sample_answers(model, asked, 1, tokenizer=tokenizer, temperature=0.0, max_new_tokens=96)
    return [(one.text, one.ended) for (one,) in made]


def in_node(shipped: BrowserModels, asked: dict[str, Any]) -> dict[str, Any]:
    """What model.js makes of it, with the weights exact for the logits and shipped for answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shipped.write(folder, "shipped")
        packed("float32").write(folder, "exact")
        (folder / "asked.json").write_text(json.dumps(asked))
        (folder / "engine.mjs").write_text(script("model"))
        (folder / "main.mjs").write_text(NODE)
        command = ["node", "main.mjs", (folder / "engine.mjs").as_uri(), name]
        subprocess.run(command, cwd=folder, check=True)
        return json.loads((folder / "out.json").read_text())


def beside(
    questions: Sequence[Any], theirs: Sequence[Any], ours: Sequence[Any], judge: Any
) -> dict[str, Any]:
    """How many answers are equal, and whether their grades are distributed alike."""
    equal = [tuple(a) == tuple(b) for a, b in zip(theirs, ours, strict=True)]
    count = len(questions)
    both = [a and b for a, b in zip(equal[:count], equal[count:], strict=True)]

    firsts = [text for text, _ in theirs[:count]]  # a second answer follows PyTorch's first

    def grades(answers: Sequence[Any]) -> list[float]:
        given = [[text] for text, _ in answers[:count]]
        given += [[first, text] for first, (text, _) in zip(firsts, answers[count:], strict=True)]
        asked = [*questions, *questions]
        return [judge.grade(q, said, len(said)).score for q, said in zip(asked, given, strict=True)]

    before, now = grades(theirs), grades(ours)
    shares = {}
    for grade in range(1, 11):
        one = bootstrap_interval([float(round(value) == grade) for value in before])
        share = sum(round(value) == grade for value in now) / len(now)
        shares[str(grade)] = {"pytorch": [one.estimate, one.low, one.high], "browser": share}
    mean = bootstrap_interval(before)
    return {
        "answers": len(equal),
        "equal": sum(equal),
        "questions": count,
        "equal in both turns": sum(both),
        "mean grade": {
            "pytorch": [mean.estimate, mean.low, mean.high],
            "browser": sum(now) / len(now),
        },
        "grades": shares,
    }


if __name__ == "__main__":
    main()
