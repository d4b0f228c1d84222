"""The paper's claims against what several seeds measured: a difference, its interval, a verdict, a
reason.

`measured` is everywhere what `parallel.run_in_parallel` returns: seed -> row -> results. A claim is
judged on the seeds that have all it needs. Differences are taken seed by seed (the two rows of a
seed share its dSFT model and its sampling seed), so what a seed does to both cancels. Intervals are
Student's over seeds, at 95 % each: of twenty true nulls one will be called wrong.
"""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from zephyr_utils.ablations.catalogue import ABLATIONS
from zephyr_utils.evaluation import Interval, seeds_interval
from zephyr_utils.published import published_table

Measured = dict[int, dict[str, Any]]
Verdict = Literal["holds", "does not hold", "undecided", "not measured"]
UNDECIDED = "the interval holds the boundary: so many seeds of this size cannot tell"


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        key: its name in files.
        text: the claim in a sentence.
        paper: what the paper, or who else is named, reports.
        value: a seed's results by row -> the number that the claim is about.
        against: the boundary it is held against; 0 for a difference.
        expected: whether the claim puts the number above or below the boundary.
        why: verdict -> what we make of it.
    """

    key: str
    text: str
    paper: str
    value: Callable[[dict[str, Any]], float]
    expected: Literal["above", "below"] = "above"
    against: float = 0.0
    why: dict[str, str] | None = None


def difference(better: str, worse: str) -> Callable[[dict[str, Any]], float]:
    """Score of one row minus that of another."""
    return lambda rows: score(rows[better]) - score(rows[worse])


def score(results: dict[str, Any]) -> float:
    """The mean grade of both turns, 1 to 10."""
    return results["exam"]["score"]


@dataclass(frozen=True)
class ClaimResult:
    """A claim with what was measured of it."""

    claim: Claim
    per_seed: list[float]
    interval: Interval | None
    verdict: Verdict

    @property
    def why(self) -> str:
        """What we make of the verdict."""
        return (self.claim.why or {}).get(self.verdict) or (
            UNDECIDED if self.verdict == "undecided" else ""
        )

    @property
    def ours(self) -> str:
        """The number with its interval."""
        if self.interval is None:
            return "not measured"
        sign = "+" if self.claim.against == 0 else ""
        numbers = (self.interval.estimate, self.interval.low, self.interval.high)
        mean, low, high = (f"{number:{sign}.2f}".replace("-", "−") for number in numbers)
        return f"{mean} [{low}, {high}]"

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        numbers = self.interval and {
            "mean": self.interval.estimate,
            "low": self.interval.low,
            "high": self.interval.high,
        }
        texts = {
            "claim": self.claim.text,
            "paper": self.claim.paper,
            "verdict": self.verdict,
            "why": self.why,
        }
        return {**texts, "seeds": len(self.per_seed), "per_seed": self.per_seed, **(numbers or {})}


def verdict_of(interval: Interval, expected: str, against: float = 0.0) -> Verdict:
    """Holds or does not hold if the whole interval lies on one side of the boundary, else
    undecided.
    """
    if not interval.excludes(against):
        return "undecided"
    return "holds" if (interval.low > against) == (expected == "above") else "does not hold"


def judge(claim: Claim, measured: Measured) -> ClaimResult:
    """Judge one claim on the seeds that have its rows; fewer than two are no measurement."""
    values = []
    for rows in measured.values():
        try:
            values.append(claim.value(rows))
        except KeyError:  # this seed lacks a row
            continue
    if len(values) < 2:
        return ClaimResult(claim, values, None, "not measured")
    interval = seeds_interval(values)
    return ClaimResult(claim, values, interval, verdict_of(interval, claim.expected, claim.against))


def judge_all(measured: Measured) -> list[ClaimResult]:
    """Every claim of `CLAIMS`, in order."""
    return [judge(claim, measured) for claim in CLAIMS]


def row_scores(measured: Measured, row: str, key: str = "score") -> list[float]:
    """A number of the row's exam, one per seed."""
    return [rows[row]["exam"][key] for rows in measured.values() if row in rows]


def findings_table(findings: list[ClaimResult], why: bool = True) -> str:
    """Claim, paper, ours, verdict and, where `why` is set, the reason: a Markdown table."""
    head = ("claim", "paper", "ours [95 %]", "seeds", "verdict", *(["why"] if why else []))
    rows = [
        (
            result.claim.text,
            result.claim.paper,
            result.ours,
            str(len(result.per_seed)),
            f"**{result.verdict}**",
        )
        + ((result.why,) if why else ())
        for result in findings
    ]
    return _markdown(head, rows)


def models_table(measured: Measured, rows: Iterable[str]) -> str:
    """Score with its interval, shares of right answers and of answers that end: a Markdown table, a
    line a row.
    """
    shown = {row["setting"]: row["mt_bench"] for row in published_table("table_3").rows}
    lines = []
    for name in rows:
        label, scores = ABLATIONS[name].label, row_scores(measured, name)
        if len(scores) < 2:
            continue
        interval = seeds_interval(scores)
        shares = [
            statistics.mean(row_scores(measured, name, key))
            for key in ("right_turn_1", "right_turn_2", "ended")
        ]
        paper = shown.get(label.replace("−", "-"))
        lines.append(
            (
                label,
                f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]",
                *(f"{share:.0%}" for share in shares),
                f"{paper:.2f}" if paper else "",
                str(len(scores)),
            )
        )
    head = (
        "model",
        "score [95 %]",
        "right, turn 1",
        "right, turn 2",
        "ends by itself",
        "paper's MT-Bench",
        "seeds",
    )
    return _markdown(head, lines)


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _epoch_gain(row: str) -> Callable[[dict[str, Any]], float]:
    return lambda rows: rows[row]["epochs"][-1]["score"] - rows[row]["epochs"][0]["score"]


def _relative(key: str, name: str, source: str) -> Claim:
    text = f"{name} beats the sigmoid loss on the same pairs"
    return Claim(f"{key}_beats_sigmoid", text, source, difference(key, "few"))


CLAIMS = (
    Claim(
        "dsft_teaches",
        "dSFT lifts the base model",
        "section 3: the first step",
        difference("dsft", "base"),
        why={"holds": "the base knows the facts and has never seen a chat"},
    ),
    Claim(
        "ddpo_adds",
        "dDPO + dSFT beats dSFT-1",
        "7.00 against 6.64",
        difference("ddpo", "dsft"),
        why={
            "holds": "nearly all of it is manner: the answers are no more often right than before "
            "(chapter 07)"
        },
    ),
    Claim(
        "ddpo_needs_dsft",
        "dDPO without dSFT falls behind dSFT-1",
        "4.76 against 6.64",
        difference("ddpo_without_dsft", "dsft"),
        "below",
        why={"holds": "pairs teach which of two answers is better, not how to answer"},
    ),
    Claim(
        "dsft_2_no_gain",
        "a second dSFT on the chosen answers gains nothing over dSFT-1",
        "6.19 against 6.64",
        difference("dsft_2", "dsft"),
        "below",
        why={
            "does not hold": "here the chosen answers, the best of four, are far better than the "
            "dialogues, and an easy "
            "world is learnt by imitation; UltraFeedback's are not so far above UltraChat's"
        },
    ),
    Claim(
        "ddpo_beats_dsft_2",
        "dDPO + dSFT beats dSFT-2",
        "7.00 against 6.19",
        difference("ddpo", "dsft_2"),
        why={
            "does not hold": "imitating the best of four answers is enough in so small a world: "
            "every chosen answer shows "
            "the whole of what is right, and no preference says more",
            "undecided": "dSFT-2 is the more often right and dDPO has the better manner; the "
            "difference is near the edge",
            "holds": "by manner again: dSFT-2 is right more often, and the grade pays for both",
        },
    ),
    Claim(
        "train_accuracy_saturates",
        "training accuracy is near 1 from the second epoch of dDPO on",
        "figure 3, left: near perfect",
        lambda rows: rows["epochs"]["accuracies"]["train"][1],
        against=0.95,
        why={
            "does not hold": "an adapter on 1.3 million parameters cannot learn by heart which of "
            "two answers a noisy "
            "judge preferred; 7 billion can",
        },
    ),
    Claim(
        "longer_ddpo_helps",
        "after one epoch of dSFT, three epochs of dDPO beat one",
        "figure 3, right; 7.34 against 7.00",
        _epoch_gain("epochs_after_one"),
        why={
            "holds": "the answers go on gaining while the held-out accuracy stands still, which is "
            "the paper's point"
        },
    ),
    Claim(
        "long_dsft_spoils",
        "after two epochs of dSFT, longer dDPO makes the model worse",
        "figure 3, right, in words",
        _epoch_gain("epochs"),
        "below",
        why={
            "does not hold": "two epochs of dSFT are not too many here: so small an adapter still "
            "learns from the second, "
            "and dDPO gains from the better start as well"
        },
    ),
    Claim(
        "random_beats_worst",
        "a random rejected answer is better than the worst one",
        "section 4.1, a reason and no number",
        difference("few", "lowest"),
        why={
            "holds": "against the worst answer the model learns to be right, against a random one "
            "to sound better as well; "
            "it is right in more first turns with the worst, and the grade pays for both",
            "undecided": "ahead with four seeds of five: the rate that one seed's search found for "
            "the plain row is too "
            "high for another seed",
        },
    ),
    Claim(
        "dropping_ties_helps",
        "dropping ties is better than keeping them",
        "it says both",
        difference("few", "ties_kept"),
    ),
    Claim(
        "mean_beats_overall",
        "the mean of four aspects is a better score than the overall grade",
        "the paper takes the mean, the published set the overall grade",
        difference("few", "overall"),
        why={
            "does not hold": "the overall grade pays more for manner, and so does the exam's "
            "teacher; near the edge, for "
            "the plain row's seeds lie far apart"
        },
    ),
    Claim(
        "small_beta_better",
        "β 0.01 is better than β 0.1",
        "the paper used 0.1, the later handbook 0.01",
        difference("beta_0.01", "few"),
        why={
            "does not hold": "so small a β hardly holds the policy to its reference: it bears only "
            "a quarter of the rate "
            "that serves β 0.1, at which it is right as often as dSFT and learns little manner"
        },
    ),
    Claim(
        "large_beta_worse",
        "β 0.5 is worse than β 0.1",
        "not tried",
        difference("beta_0.5", "few"),
        "below",
    ),
    _relative("ipo", "IPO", "arXiv 2310.12036"),
    _relative("hinge", "the hinge loss", "arXiv 2305.10425, 2309.06657"),
    _relative("robust", "robust DPO", "arXiv 2403.00409"),
    _relative("sppo_hard", "SPPO with hard labels", "arXiv 2405.00675"),
    _relative("apo_zero", "APO-zero", "arXiv 2408.06266"),
)
