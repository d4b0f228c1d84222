"""A claim against what replications measured: two outcomes, an interval each, a verdict, a reason.

`measured` is everywhere seed -> row -> results, as `parallel.run_in_parallel` gives them. A
claim is judged on the replications that have all it needs. Differences are taken question by
question within a replication: its rows share the dSFT model, the exam and the sampling seed, so
what a replication does to both rows cancels.

Verdicts are corrected for their number: the p-values of a family's claims are corrected together by
Holm's procedure, for each outcome apart. ``benchmarks/protocol.md`` fixed all this before anything
was measured.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import ArrayLike

from zephyr_utils.ablations.outcomes import GRADE, LENGTH, MARGINS, OUTCOMES, paired_values
from zephyr_utils.ablations.statistics import ALPHA, Effect, holm_corrected, measure_effect
from zephyr_utils.evaluation import Interval

Measured = dict[int, dict[str, Any]]
Verdict = Literal["holds", "does not hold", "equivalent", "undecided", "not measured"]
Expected = Literal["above", "below", "no gain"]
Reason = Callable[[Measured], str]
CONJECTURE, NUMBER = "conjecture: ", "number"


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        key: its name in files.
        text: the claim in a sentence.
        paper: what the paper, or who else is named, reports.
        family: the claims that are decided together.
        better, worse: two exams (`outcomes.find_exam`) whose difference it is about.
        expected: the side of the boundary that the claim puts the number on; "no gain" puts it
            below the margin.
        primary: the outcome that it is stated for; the other is beside it.
        number: a replication's results by row -> another number that the claim is about, in place
            of `better` and `worse`.
        against: the boundary that `number` is held against.
        why: verdict -> what we make of it, from what was measured, or words that begin with
            `CONJECTURE`. Without an entry a difference is taken apart (`reasons.in_parts`).
    """

    key: str
    text: str
    paper: str
    family: str
    better: str = ""
    worse: str = ""
    expected: Expected = "above"
    primary: str = GRADE
    number: Callable[[dict[str, Any]], float] | None = None
    against: float = 0.0
    why: Mapping[str, Reason | str] = field(default_factory=dict)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What it is judged by."""
        return (NUMBER,) if self.number else OUTCOMES

    @property
    def decides(self) -> str:
        """The outcome whose verdict is the claim's."""
        return NUMBER if self.number else self.primary


@dataclass(frozen=True)
class Finding:
    """One outcome of a claim.

    Attributes:
        effect: what was measured.
        p_corrected: that the number is its boundary, corrected within the family.
        verdict: on this outcome.
        against: the boundary.
        small: it lies within the margin, whether or not it is certain.
    """

    effect: Effect
    p_corrected: float
    verdict: Verdict
    against: float = 0.0
    small: bool = False

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        interval = self.effect.interval()
        numbers = {
            "mean": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "p": self.effect.p_differs(self.against),
            "p_corrected": self.p_corrected,
            "standard_error": self.effect.standard_error,
            "detectable": self.effect.detectable,
            "per_seed": list(self.effect.per_replication),
        }
        return {"verdict": self.verdict, "within_margin": self.small, **_rounded(numbers)}


@dataclass(frozen=True)
class ClaimResult:
    """A claim with what was measured of it.

    Attributes:
        claim: the claim.
        findings: outcome -> what was found; empty where too little was measured.
        longer: by how many tokens the better answers are longer, on average; None for a number.
        why: what we make of the verdict.
    """

    claim: Claim
    findings: dict[str, Finding]
    longer: float | None = None
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """On the outcome that the claim is stated for."""
        return self.verdict_on(self.claim.decides)

    @property
    def interval(self) -> Interval | None:
        """95 %, of the outcome that the claim is stated for."""
        found = self.findings.get(self.claim.decides)
        return found.effect.interval() if found else None

    def verdict_on(self, outcome: str) -> Verdict:
        """On one outcome."""
        return self.findings[outcome].verdict if outcome in self.findings else "not measured"

    @property
    def replications(self) -> int:
        """How many the claim was judged on."""
        return max((len(f.effect.per_replication) for f in self.findings.values()), default=0)

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "claim": self.claim.text,
            "paper": self.claim.paper,
            "family": self.claim.family,
            "verdict": self.verdict,
            "why": self.why,
            "replications": self.replications,
            "longer_by_tokens": None if self.longer is None else round(self.longer, 2),
            **{name: found.as_record() for name, found in self.findings.items()},
        }


def _rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [round(one, 6) for one in value] if isinstance(value, list) else round(value, 6)
        for name, value in numbers.items()
    }


def verdict_of(effect: Effect, p_corrected: float, claim: Claim, margin: float | None) -> Verdict:
    """What is decided of one outcome.

    A difference is *significant* if its corrected p-value is below 5 %, and then the claim *holds*
    or *does not hold* by its sign. Otherwise it is *equivalent* if it lies within the margin (two
    one-sided tests at 5 %), and else *undecided*. A claim of no gain holds for a difference that is
    equivalent or significantly below 0, and does not hold for one that is significantly above 0 and
    not equivalent.

    Args:
        effect: the number.
        p_corrected: that it is its boundary, corrected within the family.
        claim: what is claimed of it.
        margin: how small a difference is as good as none; None knows no equivalence.
    """
    significant, above = p_corrected < ALPHA, effect.estimate > claim.against
    equivalent = is_small(effect, claim, margin)
    if claim.expected == "no gain":
        if equivalent or (significant and not above):
            return "holds"
        return "does not hold" if significant else "undecided"
    if significant:
        return "holds" if above == (claim.expected == "above") else "does not hold"
    return "equivalent" if equivalent else "undecided"


def is_small(effect: Effect, claim: Claim, margin: float | None) -> bool:
    """Whether the number lies within the margin: the 90 % interval does."""
    return margin is not None and effect.p_within(margin, claim.against) < ALPHA


def effect_of(claim: Claim, outcome: str, measured: Measured) -> Effect | None:
    """An outcome of a claim over the replications that have it; None for fewer than two.

    A replication of which no question was graded in both exams does not have it.
    """
    values: list[ArrayLike] = []
    for rows in measured.values():
        try:
            if claim.number:
                values.append([claim.number(rows)])
            elif (gaps := paired_values(rows, claim.better, claim.worse, outcome)).size:
                values.append(gaps)
        except KeyError:  # this replication lacks a row
            continue
    return measure_effect(values) if len(values) > 1 else None


def judge_together(
    claims: Sequence[Claim], measured: Measured, explain: Callable[[Claim, str, Measured], str]
) -> list[ClaimResult]:
    """Judge claims, those of one family together.

    Args:
        claims: in the order wanted.
        measured: seed -> row -> results.
        explain: the claim, its verdict and `measured` -> the reason in words.
    """
    effects = {
        (claim.key, outcome): effect
        for claim in claims
        for outcome in claim.outcomes
        if (effect := effect_of(claim, outcome, measured))
    }
    families = {claim.key: claim.family for claim in claims}
    corrected: dict[tuple[str, str], float] = {}
    for family, outcome in {(families[key], outcome) for key, outcome in effects}:
        members = [(k, o) for k, o in effects if o == outcome and families[k] == family]
        against = {claim.key: claim.against for claim in claims}
        p_values = [effects[one].p_differs(against[one[0]]) for one in members]
        corrected |= zip(members, holm_corrected(p_values), strict=True)
    results = []
    for claim in claims:
        findings = {
            outcome: Finding(
                effect,
                corrected[claim.key, outcome],
                verdict_of(effect, corrected[claim.key, outcome], claim, MARGINS.get(outcome)),
                claim.against,
                is_small(effect, claim, MARGINS.get(outcome)),
            )
            for outcome in claim.outcomes
            if (effect := effects.get((claim.key, outcome)))
        }
        result = ClaimResult(claim, findings, _longer(claim, measured))
        why = explain(claim, result.verdict, measured) if findings else ""
        results.append(dataclasses.replace(result, why=why))
    return results


def _longer(claim: Claim, measured: Measured) -> float | None:
    if claim.number:
        return None
    gaps: list[float] = []
    for rows in measured.values():
        try:
            gaps += paired_values(rows, claim.better, claim.worse, LENGTH).tolist()
        except KeyError:
            continue
    return statistics.mean(gaps) if gaps else None
