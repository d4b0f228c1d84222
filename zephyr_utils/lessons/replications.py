"""What several replications say of a chapter's methods, and how its one seed compares with them.

The results are ``benchmarks/results/methods.json``, which ``make methods`` writes; verdicts are
those of `zephyr_utils.ablations.methods.claims`. Where there are none, a chapter says so and runs.
"""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from zephyr_utils.ablations.methods.catalogue import METHODS, methods_provenance
from zephyr_utils.ablations.methods.claims import (
    METHOD_CLAIMS,
    REWARDS,
    equal_kl_missed,
    judge_methods,
)
from zephyr_utils.ablations.outcomes import GRADE, MARGINS, RIGHT
from zephyr_utils.ablations.results import Committed, committed
from zephyr_utils.ablations.tables import findings_table, in_words
from zephyr_utils.ablations.verdicts import NUMBER, ClaimResult, Verdict
from zephyr_utils.errors import HandbookError
from zephyr_utils.rewards.best_of_n import best_of_n_kl

NOTHING_YET = (
    "Nothing is measured yet: `make methods` does it. (Its results come with a clone of the "
    "repository.)"
)
_LEFT_OUT = (
    "A single replication is what one training would have shown. An interval over the questions of "
    "one training leaves out what another would change; the range of the replications shows it."
)
# Verdict -> what one claim does, and what several do.
_DOES: dict[Verdict, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "equivalent": ("is equivalent to no difference", "are equivalent to no difference"),
    "undecided": ("is undecided", "are undecided"),
}


@dataclass(frozen=True)
class FamilyResults:
    """The claims that one chapter's methods are judged by.

    Attributes:
        findings: the claims that at least two replications measured, in order.
        missing: the others, in words.
        replications: how many the study has.
        changed: what the results rest on that has changed since, in words.
        note: what has to be known of one comparison; "" for nothing.
    """

    findings: tuple[ClaimResult, ...]
    missing: tuple[str, ...]
    replications: int
    changed: tuple[str, ...]
    note: str = ""


def family_results(family: str, known: Committed | None = None) -> FamilyResults:
    """One family of `METHOD_CLAIMS`, judged.

    Args:
        family: "sampling again", "reward models" or "comparisons".
        known: the study; None is the repository's own.

    Raises:
        HandbookError: there is no such family.
    """
    families = dict.fromkeys(claim.family for claim in METHOD_CLAIMS)
    if family not in families:
        raise HandbookError(
            f"no claim belongs to the family `{family}`",
            where="family_results",
            remedy=f"choose from {', '.join(families)}",
        )
    known = known or committed("methods.json", methods_provenance)
    judged = [one for one in judge_methods(known.measured) if one.claim.family == family]
    return FamilyResults(
        tuple(one for one in judged if one.findings),
        tuple(one.claim.text for one in judged if not one.findings),
        len(known.measured),
        known.changed,
        equal_kl_missed(known.measured) if family == REWARDS else "",
    )


def family_table(results: FamilyResults) -> str:
    """Verdict, difference, interval and detectable difference of each claim in both outcomes, as
    Markdown, with what has to be known of them; a sentence where nothing is measured.
    """
    if not results.findings:
        return NOTHING_YET
    parts = [findings_table(results.findings)]
    if results.note:
        parts.append(results.note)
    if results.missing:
        parts.append(f"Not measured: {'; '.join(results.missing)}.")
    if results.changed:
        parts.append(
            f"Measured before the last change of: {', '.join(results.changed)}. `make methods` "
            "measures it again."
        )
    return "\n\n".join(parts)


def unanimity(results: FamilyResults) -> int | None:
    """In how many claims all replications agree on the sign of the difference: 0 for fewer than
    half, 1 for half or more, 2 for all; None where nothing is measured.
    """
    if not results.findings:
        return None
    agree = _unanimous(results)
    return 2 if agree == len(results.findings) else int(2 * agree >= len(results.findings))


def one_seed_beside(results: FamilyResults, here: Mapping[str, float]) -> str:
    """In how many claims all replications agree, and how a chapter's own numbers compare with
    theirs, as Markdown.

    Args:
        results: the family.
        here: a claim's key -> the difference that the chapter itself has found, in the unit of the
            claim.

    Raises:
        HandbookError: a key is not one of the study's claims.
    """
    if unknown := set(here) - {claim.key for claim in METHOD_CLAIMS}:
        raise HandbookError(
            f"no claim has the key {', '.join(sorted(unknown))}",
            where="one_seed_beside",
            remedy=f"choose from {', '.join(claim.key for claim in METHOD_CLAIMS)}",
        )
    if not results.findings:
        return NOTHING_YET
    lines = [f"- {_beside(one, here.get(one.claim.key))}" for one in results.findings]
    agree = f"In {_unanimous(results)} of {len(results.findings)}"
    return "\n".join([f"{agree}. {_verdicts(results)}", "", *lines, "", _LEFT_OUT])


def study_frontier(known: Committed | None = None) -> dict[str, dict[str, float]]:
    """What each method of the study reaches, and how far it moved: its label -> ``grade`` from 1 to
    10, ``right`` as a share, and ``kl`` from dSFT in nats per answer, means over the replications
    that measured them. Best of n, which moves no model, has the divergence that theory gives it;
    reward models, which answer nothing, are left out. Empty where nothing is measured.

    Args:
        known: the study; None is the repository's own.
    """
    known = known or committed("methods.json", methods_provenance)
    points = {}
    for name, method in METHODS.items():
        rows = [rows[name] for rows in known.measured.values() if name in rows]
        exams = [row["exam"] for row in rows if "exam" in row]
        if not exams:
            continue
        if "n" in method.settings:
            distance = best_of_n_kl(method.settings["n"])
        else:
            distance = statistics.mean(row["kl"] for row in rows)
        points[method.label] = {
            "kl": distance,
            "grade": statistics.mean(exam["score"] for exam in exams),
            "right": statistics.mean(exam["right"] for exam in exams),
        }
    return points


def _verdicts(results: FamilyResults) -> str:
    stated = [one.verdict for one in results.findings]
    text = (
        f"Of {len(stated)} claims over {results.replications} replications {_counted(stated)}, "
        "each by the outcome that it is stated for"
    )
    by_right = [one.verdict_on(RIGHT) for one in results.findings if RIGHT in one.findings]
    text += f". By right answers {_counted(by_right)}." if by_right else "."
    paid = [
        one.claim.text
        for one in results.findings
        if one.verdict_on(GRADE) == "holds" and one.verdict_on(RIGHT) == "does not hold"
    ]
    return f"{text} The grade rises while right answers fall: {'; '.join(paid)}." if paid else text


def _counted(verdicts: list[Verdict]) -> str:
    counts = Counter(verdicts)
    return ", ".join(
        f"{counts[verdict]} {words[counts[verdict] > 1]}"
        for verdict, words in _DOES.items()
        if counts[verdict]
    )


def _unanimous(results: FamilyResults) -> int:
    """In how many claims all replications agree on the sign of the difference."""
    return sum(
        all(one > 0 for one in each) or all(one < 0 for one in each)
        for each in map(_per_replication, results.findings)
    )


def _per_replication(result: ClaimResult) -> tuple[float, ...]:
    """Of the outcome that the claim is stated for."""
    return result.findings[result.claim.decides].effect.per_replication


def _beside(result: ClaimResult, here: float | None) -> str:
    outcome, each = result.claim.decides, _per_replication(result)
    text = (
        f"*{result.claim.text}*: {in_words(result, outcome)}. Single replications range from "
        f"{_signed(min(each), outcome)} to {_signed(max(each), outcome)}; "
        f"{sum(one > 0 for one in each)} of {len(each)} are above zero."
    )
    return text if here is None else f"{text} {_compared(result, here)}"


def _compared(result: ClaimResult, here: float) -> str:
    """What the chapter's own number says, given the verdict."""
    outcome = result.claim.decides
    effect, one_seed = result.findings[outcome].effect, f"This chapter: {_signed(here, outcome)},"
    if result.verdict == "undecided":
        return (
            f"{one_seed} which settles nothing: {len(effect.per_replication)} replications find a "
            f"difference of {_signed(effect.detectable, outcome).lstrip('+')} four times in five, "
            "and smaller ones less often."
        )
    if result.verdict == "equivalent":
        margin = MARGINS[outcome]
        if abs(here) < margin:
            return f"{one_seed} within the margin of {margin:g}, too."
        return (
            f"{one_seed} outside the margin of {margin:g}: because of the seed, or of this "
            "chapter's other settings."
        )
    if here * effect.estimate > 0:
        return f"{one_seed} of the same sign."
    return (
        f"{one_seed} not of that sign: from this seed, with this chapter's settings, one would "
        "have concluded otherwise."
    )


def _signed(number: float, outcome: str) -> str:
    digits = 3 if outcome == NUMBER else 2  # as `in_words` has them
    return f"{number:+.{digits}f}".replace("-", "−")
