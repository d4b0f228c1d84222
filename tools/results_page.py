"""The page of results, ``book/results.md``: the paper's claims in miniature, and the benchmarks.

Usage: python tools/results_page.py

Writes the tables between the page's marks, from ``benchmarks/results/`` and the published table of
truecasers. ``python benchmarks/claims.py --write-pages`` does it too, and a test fails when page
and results are out of step. The tables are committed, so that they can be read without building the
website.
"""

import re
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zephyr_utils.ablations.catalogue import ABLATIONS, OWN_ANSWERS, TABLE_3
from zephyr_utils.ablations.claims import CLAIMS, FIRST, findings_table, judge_all, models_table
from zephyr_utils.ablations.methods.catalogue import METHODS, methods_provenance
from zephyr_utils.ablations.methods.claims import equal_kl_missed, judge_methods
from zephyr_utils.ablations.results import FORMAT, Committed, parse_results
from zephyr_utils.ablations.tables import (
    methods_table,
    processors_table,
    reasons_table,
    undecided,
)
from zephyr_utils.ablations.verdicts import ClaimResult
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json
from zephyr_utils.miniature.newcomers_study import (
    AIM,
    STAGES,
    newcomer_shares,
    newcomers_provenance,
    newcomers_table,
)
from zephyr_utils.published import published_table
from zephyr_utils.tables import markdown_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "book" / "results.md"
BLOCK = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->\n)", re.S)
# An arm of benchmarks/steps.py -> what it is; all but the first take the pairs in one order, so
# that their losses can be compared.
ARMS = {
    "ours": "ours: reference on disk, prompts shared, pairs grouped by length",
    "in order": "ours, pairs in their order",
    "two rows": "ours, two rows per pair",
    "bare": "a bare PyTorch loop, two rows per pair",
    "trl": "TRL with its defaults: bfloat16, live reference, activations recomputed",
}
COMPARED = {"in order", "two rows"}  # same precision and order as the bare loop


def claims(known: Committed) -> str:
    """The models and the verdicts, and what a reader has to know of them; claims that are not
    measured are counted, not listed.
    """
    judged = judge_all(known.measured)
    shown = [finding for finding in judged if finding.verdict != "not measured"]
    rows = (*TABLE_3, "few", *OWN_ANSWERS, "own_random_at_few")
    parts = [
        models_table(known.measured, rows),
        findings_table(shown),
        "```{admonition} What lies behind each verdict\n:class: tip dropdown\n"
        f"{reasons_table(shown)}\n```",
        _about(known, judged, len(shown)),
    ]
    if missing := len(judged) - len(shown):
        parts.append(f"{missing} further claims are not measured yet.")
    return "\n\n".join(parts)


def _about(known: Committed, judged: list[ClaimResult], shown: int) -> str:
    """How many replications, how many of the `shown` claims are undecided, what was left out."""
    every, first = (len(undecided(some)) for some in (judged, judged[:FIRST]))
    text = (
        f"Undecided, on the outcome that a claim is stated for: {every} of {shown}, {first} of "
        f"them among the first {FIRST}. Those, on table 3, epochs, pairings, β and losses, are "
        "the paper's and its successors'; the others explain them or go beyond the paper, and are "
        f"therefore counted apart. {known.machine}."
    )
    if known.format < FORMAT:
        return (
            f"These results belong to an earlier world, and to {len(known.measured)} seeds that "
            f"moved the training alone: their intervals are too narrow. {text}"
        )
    for seed, rows in known.failed.items():
        text += f" Replication {seed} failed in {', '.join(rows)}, and is left out there."
    return f"{len(known.measured)} replications. {text}"


def hours(results: Mapping[str, Any]) -> str:
    """What the rows of the first claims and all rows took, added up over the replications."""
    compared = {row for claim in CLAIMS[:FIRST] for row in (claim.better, claim.worse)}
    first = {row.partition("@")[0] for row in compared if row} | {"epochs"}
    first |= {ABLATIONS[row].start for row in first} - {""}
    mean = {row: statistics.mean(took) for row, took in results["seconds"].items()}
    some, every = (
        len(results["measured"]) * sum(mean[row] for row in rows & mean.keys()) / 3600
        for rows in (first, set(mean))
    )
    return (
        f"Added up, the rows of the first {FIRST} claims took {some:.1f} hours of one core, and "
        f"all rows {every:.1f}; `make claims` trains as many replications at once as there are "
        "cores."
    )


def methods(known: Committed) -> str:
    """The methods of part two and their verdicts, as `claims` has the paper's."""
    if not known.measured:
        return "Nothing is measured yet: `make methods` does it."
    judged = judge_methods(known.measured)
    shown = [finding for finding in judged if finding.verdict != "not measured"]
    labels = {name: row.label for name, row in METHODS.items()}
    accuracy = {
        name: statistics.mean(rows[name]["accuracy"] for rows in having)
        for name, row in METHODS.items()
        if row.kind == "reward"
        and (having := [rows for rows in known.measured.values() if name in rows])
    }
    parts = [
        methods_table(known.measured, labels),
        findings_table(shown),
        "Share of held-out pairs ranked as the label does: "
        + "; ".join(f"{labels[name]} {share:.3f}" for name, share in accuracy.items())
        + ".",
        equal_kl_missed(known.measured),
        f"{len(known.measured)} replications; undecided: {len(undecided(judged))} of "
        f"{len(shown)}. {known.machine}.",
    ]
    parts = [part for part in parts if part] + [
        f"Replication {seed} failed in {', '.join(rows)}, and is left out there."
        for seed, rows in known.failed.items()
    ]
    return "\n\n".join(parts)


def newcomers(known: Committed) -> str:
    """The protocol's third outcome: what is answered sensibly, and whether the aim is reached."""
    table, said = newcomers_table(known.measured), []
    if not (found := newcomer_shares(known.measured)):
        return table
    whole = next(iter(found.values()))
    for stage, label in zip(STAGES, ("dSFT", "dDPO"), strict=True):
        interval, means = whole[stage].interval(), whole[stage].per_replication
        how = "misses it" if interval.estimate < AIM else "reaches it"
        if interval.low < AIM <= interval.high:
            how += ", though the interval includes it"
        reached = sum(mean > AIM - 1e-9 for mean in means)  # 64 of 80 is 0.8, but not in binary
        said.append(f"{label}'s mean {how} ({reached} of {len(means)} replications reach it)")
    text = (
        f"{table}\n\n{len(means)} replications. The aim was {100 * AIM:.0f} % after either stage: "
        f"{'; '.join(said)}. The protocol states it since three replications had been read. "
        f"{known.machine}."
    )
    for seed, rows in known.failed.items():
        text += f" Replication {seed} failed in {', '.join(rows)}, and is left out."
    return text


def processors(results: dict[str, Any]) -> str:
    """What another instruction set changes, on the same seeds."""
    if not results:
        return "Nothing is measured yet: `benchmarks/processors.py` does it."
    seeds = ", ".join(map(str, results["seeds"]))
    return f"{processors_table(results['measured'])}\n\nSeeds {seeds}; {results['stamp']['cpu']}."


def truecasers() -> str:
    """F1 and speed of the truecasers, from the benchmark's own table."""
    found = published_table("truecasing_peers")

    def cell(row: dict[str, Any], name: str) -> str:
        return "–" if row[name] is None else f"{row[name]:g}"

    rows = [
        (
            row["system"],
            f"{row['mix_all']:.1f} ({row['mix_prose']:.1f})",
            f"{row['gpt35_all']:.1f} ({row['gpt35_prose']:.1f})",
            cell(row, "clean_altered"),
            cell(row, "recaser_mb_per_second"),
        )
        for row in found.rows
    ]
    machine = found.note.rpartition("of this machine: ")[2]
    note = f"Speed: wholly faulty text, one core of {machine}"
    columns = [
        "truecaser",
        "F1, many models (prose)",
        "F1, GPT-3.5-like (prose)",
        "clean messages altered, %",
        "MB per second",
    ]
    return f"{markdown_table(columns, rows, numbers=(1, 2, 3, 4))}\n\n{note}"


def steps(results: dict[str, Any]) -> str:
    """Processor time of one dDPO step on the same 16 pairs, and whether the losses agree."""
    measured = results["measured"]
    times = {arm: statistics.median(one["cpu_ms"] for one in measured[arm]) for arm in ARMS}
    bare = measured["bare"][0]["losses"]

    def agreement(arm: str) -> str:
        if arm not in COMPARED:
            return ""
        apart = max(abs(a - b) for a, b in zip(measured[arm][0]["losses"], bare, strict=True))
        return f"{apart:.0e}"

    rows = [
        (words, f"{times[arm]:.0f}", f"{times[arm] / times['trl']:.2f}", agreement(arm))
        for arm, words in ARMS.items()
    ]
    columns = ["one step", "ms", "of TRL's", "loss apart from the bare loop's"]
    stamp = results["environment"]
    machine = f"One thread of {stamp['cpu']}, torch {stamp['torch']}, TRL {stamp['trl']}."
    return f"{markdown_table(columns, rows, numbers=(1, 2, 3))}\n\n{machine}"


def browser(results: dict[str, Any]) -> str:
    """The models in a browser beside PyTorch's, with the goals, and which of these were missed."""
    if not {"answers", "chromium"} <= set(results):
        return "Nothing is measured yet: `benchmarks/browser.py` does it."
    goals, names, tab = results["goals"], list(results["answers"]), results["chromium"]
    answers, speeds = results["answers"].values(), tab["tokens_per_second"].values()
    equal = [one["equal"] / one["answers"] for one in answers]
    both = [one["equal in both turns"] / one["questions"] for one in answers]
    apart = [results["logits"]["largest difference"][name] for name in names]
    inside = [[_inside(grade) for grade in one["grades"].values()] for one in answers]
    speed = [one["browser"] for one in speeds]
    first = [one["seconds to the first token"] for one in speeds]
    memory, (fetched, unmet) = tab["memory_mb"]["three models"], _fetched(results)
    differing, chats = results["tokens"]["differing"], results["tokens"]["chats"]
    rows = [
        (
            f"greedy answers equal, of {next(iter(answers))['answers']}",
            f"{100 * goals['equal']:.0f} %",
            [f"{100 * share:.1f} %" for share in equal],
            min(equal) >= goals["equal"],
        ),
        (
            f"both answers equal, of {next(iter(answers))['questions']} questions",
            f"{100 * goals['equal']:.0f} %",
            [f"{100 * share:.1f} %" for share in both],
            min(both) >= goals["equal"],
        ),
        (
            "grades whose share is in the interval of PyTorch's",
            "all",
            [f"{sum(one)} of {len(one)}" for one in inside],
            all(map(all, inside)),
        ),
        (
            "largest difference of a logit in float32",
            f"{goals['logits']:.0e}",
            [f"{value:.0e}" for value in apart],
            max(apart) <= goals["logits"],
        ),
        (
            "tokens per second",
            str(goals["tokens_per_second"]),
            [f"{value:.0f}" for value in speed],
            min(speed) >= goals["tokens_per_second"],
        ),
        (
            "seconds to the first token",
            f"{goals['seconds_to_the_first_token']}",
            [f"{value:.2f}" for value in first],
            max(first) <= goals["seconds_to_the_first_token"],
        ),
    ]
    cells = [(what, goal, *values, "yes" if met else "no") for what, goal, values, met in rows]
    cells += [
        (what, "", *values, "")
        for what, values in (
            (
                "of PyTorch's tokens per second in the same minutes",
                [f"{100 * one['browser'] / one['pytorch']:.0f} %" for one in speeds],
            ),
            (
                "tokens per second of processor time",
                [f"{one['browser, processor time']:.0f}" for one in speeds],
            ),
        )
    ]
    said = [
        f"Tokens: {differing} of {chats:,} generated chats differ (goal: none).",
        fetched,
        f"The tab takes {memory:.0f} MB once all three have answered "
        f"(goal: {goals['memory_mb']} MB), and {tab['memory_mb']['empty page']:.0f} MB when empty.",
        f"{tab['environment']['cpu']}, {tab['environment']['cores']} cores; the load of the "
        f"machine was {tab['load_of_the_machine']:.1f} while the speeds were measured.",
    ]
    missed = [what for what, _, _, met in rows if not met]
    missed += ["tokens"] * bool(differing) + unmet
    missed += ["memory"] * (memory > goals["memory_mb"])
    said.append(f"Missed: {'; '.join(missed)}." if missed else "No goal was missed.")
    table = markdown_table(["", "goal", *names, "reached"], cells, numbers=range(1, 2 + len(names)))
    return f"{table}\n\n{' '.join(said)}"


def _fetched(results: dict[str, Any]) -> tuple[str, list[str]]:
    """What a reader fetches and how far rounding changes checkpoints, and which goals it misses."""
    if "checkpoints" not in results:
        return "Checkpoints are not measured yet: `benchmarks/browser.py --run` does it.", []
    goals, kept = results["goals"], results["checkpoints"]
    size = sum(results["bytes"].values())
    counts = ", ".join(f"{len(one)} checkpoints of {stage}" for stage, one in kept["equal"].items())
    least = min(share for one in kept["equal"].values() for share in one.values())
    text = (
        f"Of {kept['tokens']:,} tokens at least {100 * least:.2f} % stay the likeliest one when a "
        f"checkpoint is rounded (goal: {100 * goals['equal']:.0f} %). A reader fetches "
        f"{size / 1e6:.2f} MB at most (goal: {goals['bytes'] / 1e6:.1f} MB), with {counts}."
    )
    missed = ["checkpoints"] * (least < goals["equal"]) + ["bytes"] * (size > goals["bytes"])
    return text, missed


def _inside(grade: dict[str, Any]) -> bool:
    """Whether the browser's share of a grade lies in the interval of PyTorch's."""
    _, low, high = grade["pytorch"]
    return bool(low - 1e-9 <= grade["browser"] <= high + 1e-9)


def blocks() -> dict[str, Callable[[], str]]:
    """The name of each block of the page and what makes it."""
    return {
        "claims": lambda: "\n\n".join(
            (claims(parse_results(found := read_json(RESULTS / "claims.json"))), hours(found))
        ),
        "methods": lambda: methods(
            parse_results(read_json(RESULTS / "methods.json"), methods_provenance)
        ),
        "newcomers": lambda: newcomers(
            parse_results(read_json(RESULTS / "newcomers.json"), newcomers_provenance)
        ),
        "processors": lambda: processors(read_json(RESULTS / "processors.json")),
        "truecasers": truecasers,
        "steps": lambda: steps(read_json(RESULTS / "steps.json")),
        "browser": lambda: browser(read_json(RESULTS / "browser.json")),
    }


def filled(page: str, parts: dict[str, Callable[[], str]]) -> str:
    """The page with the text between each pair of marks replaced.

    Raises:
        HandbookError: the page lacks the marks of a part, or has marks of none.
    """
    names = [match[2] for match in BLOCK.finditer(page)]
    if sorted(names) != sorted(parts):
        raise HandbookError(
            f"the page has marks for {', '.join(names) or 'nothing'}",
            where=str(PAGE.relative_to(ROOT)),
            remedy=f"give it one pair of marks for each of {', '.join(parts)}",
        )
    return BLOCK.sub(lambda match: f"{match[1]}\n{parts[match[2]]()}\n\n{match[3]}", page)


def main() -> int:
    try:
        page = filled(PAGE.read_text(encoding="utf-8"), blocks())
    except HandbookError as error:
        print(error, file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    print(f"The tables of results are in {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
