"""Truecasing side by side: ours, truecase, sacremoses and a naive regex, in one run, on the same
text.

    make env    # brings the peers too
    python benchmarks/truecasing.py [--messages 400] [--show]

Needs the folder ``truecasing`` of ZEPHYR_REAL_DATA (default ``../shared/data``): ``train`` to fit
on, ``dev`` to make faults in, ``real_capitalize_echoes`` to detect, ``clean_other_models`` to count
false alarms in. Prints the tables, and writes ``benchmarks/results/truecasing.json`` with the
machine's stamp and ``published/truecasing_peers.yaml``, the table that the chapter shows. MB are
10^6 bytes of text; a speed is the best of three passes on one core.
"""

import argparse
import gzip
import hashlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table
from truecasing_peers import Recase, naive_regex, project, sacremoses_trained, truecase_shipped

from zephyr_utils.data.filtering import refusal_filter
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.truecasing import (
    LABELS,
    Truecaser,
    corrupt_case,
    detect_case_noise,
    truecase_files,
    truecasing_scores,
)

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("ZEPHYR_REAL_DATA", ROOT.parent / "shared" / "data")) / "truecasing"
RESULT = ROOT / "benchmarks" / "results" / "truecasing.json"
TABLE = ROOT / "zephyr_utils" / "published" / "truecasing_peers.yaml"
KINDS = ("capitalize", "lower", "upper", "sentence")
OURS, REGEX, TRUECASE = "ours", "naive regex", "truecase 0.0.14"
MOSES, MOSES_HELPED = "sacremoses 0.2.0", "sacremoses 0.2.0, leading marks cut off"
# The models of ``dev`` nearest to the one that wrote UltraChat.
NEAR_ULTRACHAT = ("gpt-3.5-turbo-1106", "gpt4_0613", "vicuna-13b-v1.5")
PIPELINE_BYTES = 60_000_000
FAULTY_SHARE = 0.05
PASSES = 3


def read(name: str) -> list[dict]:
    """The records of one file of the folder."""
    with gzip.open(REAL / f"{name}.jsonl.gz", "rt", encoding="utf-8") as rows:
        return [json.loads(row) for row in rows]


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def best_seconds(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three passes."""
    seconds = []
    for _ in range(PASSES):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def text_kinds(dev: list[dict], messages: int) -> dict[str, list[str]]:
    """Answers of all models mixed, and those nearest to UltraChat's."""
    answers = [row["text"] for row in dev if row["role"] == "assistant"]
    chosen = np.random.default_rng(0).permutation(len(answers))[:messages]
    near = [row["text"] for row in dev if row["src"].split("/")[-1] in NEAR_ULTRACHAT]
    return {"chat mix": [answers[index] for index in chosen], "GPT-3.5-like": near[:messages]}


def accuracy(
    systems: dict[str, Callable[[list[str]], list[str]]], texts: dict[str, list[str]]
) -> list[dict]:
    """Scores of every system on every kind of text, fault and line."""
    rows = []
    for text_kind, reference in texts.items():
        for fault in KINDS:
            source = [corrupt_case(text, fault) for text in reference]
            for system, repair in systems.items():
                hypothesis = repair(source)
                for lines in ("all", "prose"):
                    scores = truecasing_scores(
                        reference, source, hypothesis, prose_only=lines == "prose"
                    )
                    figures = {
                        name: round(value, 4) if isinstance(value, float) else value
                        for name, value in scores.as_dict().items()
                        if name != "clean_altered"
                    }
                    rows.append(
                        {"text": text_kind, "fault": fault, "lines": lines, "system": system}
                        | figures
                    )
    return rows


def recaser_speed(
    truecaser: Truecaser, peers: dict[str, Recase], texts: list[str]
) -> dict[str, float]:
    """MB/s of every system on text that is faulty throughout."""
    source = [corrupt_case(text, "capitalize") for text in texts]
    many = source * 4  # ours is done too soon to be timed on less
    speed = {OURS: megabytes(many) / best_seconds(lambda: truecaser.recase(many))}
    for name, recase in peers.items():
        part = source[:60] if name == TRUECASE else source
        speed[name] = megabytes(part) / best_seconds(lambda: [recase(text) for text in part])  # noqa: B023
    return {name: round(value, 2) for name, value in speed.items()}


def pipeline_speed(truecaser: Truecaser, pool: list[str]) -> dict[str, float]:
    """MB/s where one message in twenty is faulty: an Arrow array in memory, Parquet to Parquet."""
    rng = np.random.default_rng(1)
    texts, held = [], 0
    while held < PIPELINE_BYTES:
        text = pool[int(rng.integers(len(pool)))]
        texts.append(corrupt_case(text, "capitalize") if rng.random() < FAULTY_SHARE else text)
        held += len(text.encode())
    array, size = pa.array(texts), megabytes(texts)
    speed = {"in memory": size / best_seconds(lambda: truecaser.truecase_batch(array))}
    speed["naive regex, in memory"] = size / best_seconds(
        lambda: pa.array([naive_regex(text) for text in array.to_pylist()])
    )
    content = pa.StructArray.from_arrays(
        [pa.array(["user", "assistant"] * (len(texts) // 2)), array[: len(texts) // 2 * 2]],
        names=["role", "content"],
    )
    offsets = pa.array(np.arange(0, len(content) + 1, 2), pa.int32())
    table = pa.table({"messages": pa.ListArray.from_arrays(offsets, content)})
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "dialogues.parquet", Path(folder) / "out"
        pq.write_table(table, source, row_group_size=8192)

        def whole() -> None:
            for finished in output.glob("*.report.json"):
                finished.unlink()
            truecase_files(source, output, truecaser=truecaser, roles=("user", "assistant"))

        speed["Parquet to Parquet"] = size / best_seconds(whole)
    return {name: round(value, 1) for name, value in speed.items()} | {"text_mb": round(size, 1)}


def false_alarms(truecaser: Truecaser, texts: list[str], console: Console | None) -> dict[str, int]:
    """How many clean messages each path alters; with a console, where."""
    labels = detect_case_noise(pa.array(texts), truecaser).to_pylist()
    repaired = truecaser.truecase_batch(texts)
    altered: Counter[str] = Counter()
    for before, after, label in zip(texts, repaired, labels, strict=True):
        if before == after:
            continue
        altered["sentence" if label == "sentence" else "whole_message"] += 1
        if console:
            place = next(at for at in range(len(before)) if before[at] != after[at])
            mark = hashlib.sha256(before.encode()).hexdigest()[:12]
            excerpt = before[max(0, place - 70) : place] + "^" + after[place : place + 40]
            console.print(f"  {mark} {label}: {excerpt!r}", highlight=False, markup=False)
    return {
        "messages": len(texts),
        "whole_message": altered["whole_message"],
        "sentence": altered["sentence"],
    }


def peers_altered(peers: dict[str, Recase], texts: list[str], repair: dict) -> dict[str, float]:
    """Share of clean messages that each peer alters."""
    return {
        name: round(
            float(np.mean([a != b for a, b in zip(texts, repair[name](texts), strict=True)])), 4
        )
        for name in peers
    }


def five_percent(truecaser: Truecaser, dev: list[dict]) -> dict[str, float]:
    """The whole pipeline where one message in twenty has one of the four faults."""
    rng = np.random.default_rng(2)
    reference = [row["text"] for row in dev if row["role"] == "assistant"]
    source = [
        corrupt_case(t, "mixed", rng) if rng.random() < FAULTY_SHARE else t for t in reference
    ]
    scores = truecasing_scores(reference, source, truecaser.truecase_batch(source))
    return {
        name: round(getattr(scores, name), 4)
        for name in ("precision", "recall", "f1", "clean_altered")
    }


def refusals(texts: dict[str, list[str]]) -> dict[str, dict]:
    """What ``refusal_filter`` removes of each set: share, counts by family, the phrases that remove
    most.
    """
    found = {}
    for name, items in texts.items():
        result = refusal_filter(items)
        families = Counter(refusal.family for refusal in result.removed)
        found[name] = {
            "messages": len(items),
            "removed": len(result.removed),
            "by_family": dict(families.most_common()),
            "by_phrase": dict(result.counts.most_common(8)),
        }
    return found


def echoes_found(echoes: list[str], truecaser: Truecaser) -> dict[str, int]:
    """Labels of the real echoes; of those among them that are what ``str.capitalize`` makes of
    them, how many are found.
    """
    labels = detect_case_noise(pa.array(echoes), truecaser).to_pylist()
    spoilt = [text.strip() == text.strip().capitalize() for text in echoes]
    found = sum(label != "ok" for label, is_spoilt in zip(labels, spoilt, strict=True) if is_spoilt)
    counts = {label: labels.count(label) for label in LABELS}
    return {
        "messages": len(echoes),
        "identical_to_capitalize": sum(spoilt),
        "found_of_these": found,
    } | counts


def measure(messages: int, show: bool, console: Console) -> dict:
    """Everything, as a dictionary."""
    train, dev = read("train"), read("dev")
    fit_on = [row["text"] for row in train]
    started = time.perf_counter()
    truecaser = Truecaser.fit(fit_on)
    fit_seconds = {OURS: round(time.perf_counter() - started, 1)}
    started = time.perf_counter()
    peers = {REGEX: naive_regex, MOSES: sacremoses_trained(fit_on), TRUECASE: truecase_shipped()}
    fit_seconds["peers"] = round(time.perf_counter() - started, 1)
    helped = sacremoses_trained(fit_on, from_first_letter=True)

    def projected(recase: Recase) -> Callable[[list[str]], list[str]]:
        return lambda texts: [project(text, recase(text)) for text in texts]

    texts = text_kinds(dev, messages)
    peer_repair = {name: projected(recase) for name, recase in peers.items()}
    systems = {
        OURS: truecaser.truecase_batch,
        f"{OURS}, recaser alone": truecaser.recase,
    } | peer_repair
    systems[MOSES_HELPED] = projected(helped)
    recaser = recaser_speed(truecaser, peers, texts["chat mix"])
    answers = [row["text"] for row in dev + train if row["role"] == "assistant"]
    pipeline = pipeline_speed(truecaser, answers)
    clean = [row["text"] for row in read("clean_other_models")]
    echoes = [row["text"] for row in read("real_capitalize_echoes")]
    return {
        "fit": {"mb": round(megabytes(fit_on), 1), "messages": len(fit_on), "seconds": fit_seconds},
        "recaser_mb_per_second": recaser,
        "pipeline_mb_per_second": pipeline,
        "accuracy": accuracy(systems, texts),
        "five_percent_mixed_faults": five_percent(truecaser, dev),
        "clean_altered": {
            "dev": false_alarms(truecaser, [row["text"] for row in dev], None),
            "other models": false_alarms(truecaser, clean, console if show else None),
            "peers, share of 400 messages of other models": peers_altered(
                peers, clean[:400], peer_repair
            ),
        },
        "real_echoes": echoes_found(echoes, truecaser),
        "refusals": refusals(
            {
                "real echoes of the fault": echoes,
                "answers of train": [row["text"] for row in train if row["role"] == "assistant"],
                "other models": clean,
            }
        ),
        "environment": environment_stamp(),
    }


def figure(
    result: dict, system: str, text: str, fault: str, lines: str, name: str = "f1_capitalized"
) -> float:
    """One figure of the accuracy table."""
    wanted = {"system": system, "text": text, "fault": fault, "lines": lines}
    return next(row[name] for row in result["accuracy"] if row.items() >= wanted.items())


def targets(result: dict) -> list[dict]:
    """What is aimed at, and what was reached."""
    speed, pipeline = result["recaser_mb_per_second"], result["pipeline_mb_per_second"]
    other, echoes = result["clean_altered"]["other models"], result["real_echoes"]

    def ahead(text: str, lines: str, moses: str = MOSES) -> float:
        ours, theirs = (
            figure(result, system, text, "capitalize", lines) for system in (OURS, moses)
        )
        return round(100 * (ours - theirs), 1)

    rows = [
        ("recaser, times sacremoses", speed[OURS] / speed[MOSES], ">=", 8),
        ("recaser, times truecase", speed[OURS] / speed[TRUECASE], ">=", 50),
        ("pipeline in memory, times sacremoses", pipeline["in memory"] / speed[MOSES], ">=", 75),
        (
            "Parquet to Parquet, times sacremoses",
            pipeline["Parquet to Parquet"] / speed[MOSES],
            ">=",
            45,
        ),
        ("F1 over capitals, chat mix: points over sacremoses", ahead("chat mix", "all"), ">=", 9),
        ("the same, prose", ahead("chat mix", "prose"), ">=", 6),
        (
            "F1 over capitals, GPT-3.5-like: points over sacremoses",
            ahead("GPT-3.5-like", "all"),
            ">=",
            4,
        ),
        ("the same, prose", ahead("GPT-3.5-like", "prose"), ">=", 4),
        (
            "as above with leading marks cut off for sacremoses: chat mix",
            ahead("chat mix", "all", MOSES_HELPED),
            ">=",
            9,
        ),
        ("the same, prose", ahead("chat mix", "prose", MOSES_HELPED), ">=", 6),
        (
            "with leading marks cut off, GPT-3.5-like",
            ahead("GPT-3.5-like", "all", MOSES_HELPED),
            ">=",
            4,
        ),
        ("the same, prose", ahead("GPT-3.5-like", "prose", MOSES_HELPED), ">=", 4),
        (
            "clean messages altered, whole-message path, %",
            100 * other["whole_message"] / other["messages"],
            "<=",
            0.01,
        ),
        (
            "clean messages altered, sentence path, %",
            100 * other["sentence"] / other["messages"],
            "<=",
            0.05,
        ),
        (
            "sentence path, recall on prose, %",
            100 * figure(result, OURS, "chat mix", "sentence", "prose", "recall"),
            ">=",
            88,
        ),
        (
            "real echoes of the fault detected, %",
            100 * echoes["found_of_these"] / echoes["identical_to_capitalize"],
            ">=",
            98,
        ),
    ]
    return [
        {
            "what": what,
            "reached": round(reached, 3),
            "aim": f"{sign} {aim}",
            "met": bool(reached >= aim if sign == ">=" else reached <= aim),
        }
        for what, reached, sign, aim in rows
    ]


def peers_table(result: dict) -> dict:
    """The small table for the chapter."""
    rows = []
    altered = result["clean_altered"]["peers, share of 400 messages of other models"]
    other = result["clean_altered"]["other models"]
    stamp = result["environment"]
    altered = {OURS: (other["whole_message"] + other["sentence"]) / other["messages"]} | altered
    for system in (OURS, MOSES, MOSES_HELPED, TRUECASE, REGEX):
        percent = {
            f"{name}_{lines}": round(100 * figure(result, system, text, "capitalize", lines), 1)
            for name, text in (("mix", "chat mix"), ("gpt35", "GPT-3.5-like"))
            for lines in ("all", "prose")
        }
        rows.append(
            {"system": system}
            | percent
            | {
                "clean_altered": round(100 * altered[system], 2) if system in altered else None,
                "recaser_mb_per_second": result["recaser_mb_per_second"].get(system),
            }
        )
    return {
        "title": "Truecasers side by side on chat text that str.capitalize has spoilt",
        "source": "benchmarks/truecasing.py of this handbook; the whole of it is in "
        "benchmarks/results/truecasing.json",
        "note": "mix, gpt35: F1 in percent over words that carry a capital, in answers of many "
        "models and in those of "
        "GPT-3.5, GPT-4 (June 2023) and Vicuna; all lines, and lines of prose. clean_altered: "
        "percent of well-cased "
        "messages of other models that the system changes. Speeds: MB of wholly faulty text a "
        "second on one core of this "
        f"machine: {stamp['cpu']}, {stamp['cores']} cores, {stamp['platform']}, Python "
        f"{stamp['python']}.",
        "rows": rows,
    }


def show_tables(result: dict, console: Console) -> None:
    """The figures on the screen."""
    table = Table(title="Faults repaired: precision / recall / F1 / F1 over capitals, in percent")
    for column in ("text", "fault", "lines", "system", "P", "R", "F1", "capF1", "starts", "exact"):
        table.add_column(column)
    names = (
        "precision",
        "recall",
        "f1",
        "f1_capitalized",
        "sentence_initial_accuracy",
        "exact_match",
    )
    for row in result["accuracy"]:
        cells = [row[key] for key in ("text", "fault", "lines", "system")]
        table.add_row(*cells, *(f"{100 * row[name]:.1f}" for name in names))
    console.print(table)
    for name in (
        "fit",
        "recaser_mb_per_second",
        "pipeline_mb_per_second",
        "five_percent_mixed_faults",
        "clean_altered",
        "real_echoes",
        "refusals",
    ):
        console.print(f"{name}: {result[name]}", highlight=False, markup=False)
    table = Table(title="Aims")
    for column in ("what", "reached", "aim", "met"):
        table.add_column(column)
    for row in result["targets"]:
        table.add_row(row["what"], f"{row['reached']:g}", row["aim"], "yes" if row["met"] else "NO")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--messages", type=int, default=400, help="messages of each kind of text to score on"
    )
    parser.add_argument(
        "--show", action="store_true", help="show where clean messages of other models are altered"
    )
    arguments = parser.parse_args()
    console = Console(width=140)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    result = measure(arguments.messages, arguments.show, console)
    result["targets"] = targets(result)
    show_tables(result, console)
    RESULT.parent.mkdir(exist_ok=True)
    write_json(RESULT, result)
    TABLE.write_text(
        yaml.safe_dump(peers_table(result), sort_keys=False, allow_unicode=True, width=1000),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
