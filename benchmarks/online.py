"""SPPO's eta and SELM's alpha over decades: one round each, from the same rated answers.

    python benchmarks/online.py                    # two minutes on one quiet core for each seed
    python benchmarks/online.py --seeds 100 101    # further seeds are added to the results

The start is the dSFT model of the miniature's seed 0. A seed draws the prompts of the round, their
answers and the adapter's first weights; the model, and with it most of what differs between two
whole runs, stays the same. All settings of a seed train on one file of answers with the recipe of a
round (``recipes/miniature/online.yaml``), which was searched for DPO, and answer *development*
questions, which no exam asks, once each at temperature 1. Beside grade and right answers stand the
KL divergence from the start in nats per answer, the share of distinct answers and the mean number
of tokens.

Each result is added to ``benchmarks/results/online.json`` as it comes, so a killed run goes on
where it stopped. A result has the sizes and the settings it was made with; ``--afresh`` forgets
earlier ones, as other sizes do.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from rich.console import Console
from rich.table import Table

from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp

RESULTS = Path(__file__).resolve().parent / "results" / "online.json"
SEEDS = (100,)  # no replication of the claims has it
GRID: dict[str, tuple[float, ...]] = {
    "dsft": (0.0,),  # the start, measured as it is
    "dpo": (0.0,),  # has no setting of its own: SELM at alpha 0
    "sppo": (0.1, 1.0, 10.0, 100.0, 1000.0),
    "selm": (0.001, 0.01, 0.1, 1.0),
}
SETTING = {"dpo": "alpha", "sppo": "eta", "selm": "alpha"}
SHOWN = ("grade", "right", "kl", "distinct", "tokens", "first_loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--prompts", type=int, default=64, help="of the round")
    parser.add_argument("--samples", type=int, default=5, help="answers to each")
    parser.add_argument("--questions", type=int, default=160, help="of development, asked once")
    parser.add_argument("--afresh", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sizes = {name: getattr(arguments, name) for name in ("prompts", "samples", "questions")}
    kept = {} if arguments.afresh else read_json(arguments.output)
    tried = list(kept.get("tried", [])) if kept.get("sizes") == sizes else []
    for seed in arguments.seeds:
        missing = missing_settings(tried, seed)
        if missing:
            for row in settings_of(seed, missing, **sizes):
                tried.append(row)
                write_json(
                    arguments.output,
                    {"environment": environment_stamp(), "sizes": sizes, "tried": tried},
                )
    Console().print(table(tried))


def missing_settings(tried: list[dict[str, Any]], seed: int) -> list[tuple[str, float]]:
    """The settings of the grid that a seed has not tried yet."""
    done = {(row["method"], row["value"]) for row in tried if row["seed"] == seed}
    grid = [(method, value) for method, values in GRID.items() for value in values]
    return [setting for setting in grid if setting not in done]


def settings_of(
    seed: int, settings: list[tuple[str, float]], prompts: int, samples: int, questions: int
) -> Iterator[dict[str, Any]]:
    """Train each setting for one round from the same answers and measure it, one row each."""
    from zephyr_utils import chat
    from zephyr_utils.miniature.data import development_questions
    from zephyr_utils.online.pairs import SamplingSettings
    from zephyr_utils.online.round_training import OnlineObjective, train_round
    from zephyr_utils.online.rounds import round_recipe, split_prompts
    from zephyr_utils.pipeline.pipeline import Pipeline
    from zephyr_utils.pipeline.steps.own_answers import FEEDBACK_FILE, rate_own_answers
    from zephyr_utils.training.save import MODEL

    pipeline = Pipeline()
    start, _ = pipeline.start()
    length = pipeline.setting.exam.max_new_tokens
    feedback = pipeline.load("feedback", "feedback").records
    exam = [question["turns"][0] for question in pipeline.questions()]
    [share] = split_prompts([row["instruction"] for row in feedback], 1, seed, exam, prompts).rounds
    judge = pipeline.setting.feedback_judge
    assert judge is not None
    drawn = SamplingSettings(samples, max_new_tokens=length, seed=seed)
    asked = [question["turns"][0] for question in development_questions()]
    asked = asked[:: max(1, len(asked) // questions)][:questions]
    before = chat.load_model(start, "float32")
    with TemporaryDirectory() as name:
        folder = Path(name)
        rate_own_answers(folder, start, "dsft", share, drawn, judge(seed))
        recipe = round_recipe(pipeline) | {"seed": seed}
        for method, value in settings:
            row: dict[str, Any] = {"method": method, "value": value, "seed": seed}
            if method == "dsft":
                yield {**row, **measured(before, before, asked)}
                continue
            chosen: Any = {"method": method, SETTING[method]: value}
            where = folder / f"{method}_{value}"
            results = train_round(
                where, start, folder / FEEDBACK_FILE, OnlineObjective(**chosen), recipe, length
            )
            row["updates"] = results["updates"]
            row["first_loss"] = round(results["first_loss"], 4)
            model = chat.load_model(where / MODEL, "float32")
            yield {**row, **measured(model, before, asked)}


def measured(model: Any, before: Any, asked: list[str]) -> dict[str, float]:
    """Grade, right answers, KL from the start, distinct answers and tokens of one answer each."""
    from zephyr_utils import chat, objectives, online
    from zephyr_utils.miniature.judge import TeacherJudge
    from zephyr_utils.training.scoring import row_log_probs

    policy, tokenizer = model
    judge = TeacherJudge()
    groups = online.sample_answers(policy, asked, 1, tokenizer=tokenizer, max_new_tokens=96)
    said = [group[0] for group in groups]
    grades = [
        judge.grade({"question_id": n, "category": "", "turns": [prompt]}, [one.text], 1).score
        for n, (prompt, one) in enumerate(zip(asked, said, strict=True))
    ]
    starts = [chat.encode_prompt(tokenizer, [{"role": "user", "content": one}]) for one in asked]
    rows = [(ids + one.token_ids, len(ids)) for ids, one in zip(starts, said, strict=True)]
    reference = row_log_probs(before[0], rows, int(tokenizer.pad_token_id))
    own = reference.new_tensor([one.log_prob for one in said])
    return {
        "grade": round(sum(grades) / len(grades), 4),
        "right": round(sum(grade >= judge.right_from for grade in grades) / len(grades), 4),
        "kl": round(float(objectives.kl_estimate(own, reference).mean()), 4),
        "distinct": round(len({one.text for one in said}) / len(said), 4),
        "tokens": round(sum(one.n_tokens for one in said) / len(said), 2),
    }


def table(tried: list[dict[str, Any]]) -> Table:
    """One row a setting and seed."""
    made = Table("method", "value", "seed", *SHOWN)
    for row in tried:
        cells = ["" if row.get(name) is None else f"{row[name]:.3f}" for name in SHOWN]
        made.add_row(row["method"], f"{row['value']:g}", str(row["seed"]), *cells)
    return made


if __name__ == "__main__":
    main()
