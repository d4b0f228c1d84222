"""AlpacaEval's win rate, from the raw annotations: versions 1 and 2, with every row accounted for.

A judge sees the baseline's answer (output 1) and the model's (output 2) to the same instruction and
states a preference: 1 for the baseline, 2 for the model. Version 1 knows whole preferences and
draws, which are stored as 0 by some runs and as 1.5 by others, and stores a failed annotation as
null. Version 2 stores a continuous preference between 1 and 2, made from the judge's probabilities,
and stores a failed annotation as the draw 1.5.

Published rates follow the same arithmetic as here: the score of a row is ``preference - 1``, a draw
is one half, nulls are left out, the rate is the mean and its standard error the standard deviation
(n - 1) over root n.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from zephyr_utils.evaluation.annotations import (
    checked_annotations,
    output_length,
    row_key,
    row_score,
    scores_by_instruction,
)
from zephyr_utils.evaluation.common import (
    EvaluationError,
    check_failures,
    checked_rows,
    count_some,
    display_name,
    failure_remedy,
    finite_number,
    judge_name,
    name_some,
    warn_all,
)
from zephyr_utils.evaluation.intervals import PairedDifference, paired_difference
from zephyr_utils.evaluation.types import AlpacaEvalAnnotation

# Fewer shared rows than this may agree by chance.
_ENOUGH_TO_COMPARE = 20
# Agreement beyond chance above which two sets of annotations are taken for one; see
# shared_annotations.
_COPIED_KAPPA = 0.9
# A share of draws stored as 0 that no public run comes near (the most in 26 is 3 %).
_MANY_ZEROS = 0.2


@dataclass(frozen=True)
class WinRate:
    """A model's rate against the baseline. ``n_wins + n_losses + n_draws + n_missing`` is the
    number of rows read.

    Attributes:
        win_rate: in percent; a draw counts one half.
        standard_error: in percent; NaN when a single row was scored.
        n_wins, n_losses, n_draws: rows scored above, below and at one half.
        n_missing: rows left out, with the reasons and their counts in ``missing``.
        n_missing_as_draw: rows among the draws whose judge gave no answer (version 2 stores them as
            1.5).
        n_duplicates: rows beyond the first for the same instruction; scored, as the published rates
            are.
        average_length: mean length of the model's answers in characters, cut to a whole number, if
            known.
        warnings: what to look at before believing the figure; also issued as warnings.
    """

    win_rate: float
    standard_error: float
    n_wins: int
    n_losses: int
    n_draws: int
    n_missing: int
    n_missing_as_draw: int
    n_duplicates: int
    missing: dict[str, int]
    average_length: int | None
    warnings: tuple[str, ...]

    @property
    def n_scored(self) -> int:
        """Rows that the rate is the mean of."""
        return self.n_wins + self.n_losses + self.n_draws

    def __str__(self) -> str:
        return (
            f"{self.win_rate:.2f} % ± {self.standard_error:.2f} ({self.n_wins} won, "
            f"{self.n_losses} lost, "
            f"{self.n_draws} drawn, {self.n_missing} missing)"
        )


def _judge_gave_nothing(row: AlpacaEvalAnnotation) -> bool:
    return ("token" in row and row["token"] is None) or (
        "raw_completion" in row and row["raw_completion"] is None
    )


def _row_warnings(
    rows: list[AlpacaEvalAnnotation],
    model: str | None,
    missing: Counter[str],
    n_duplicates: int,
) -> list[str]:
    messages = []
    if missing:
        messages.append(
            f"{missing.total()} of {len(rows)} annotations are left out: {count_some(missing)}"
        )
    if n_duplicates:
        messages.append(
            f"{n_duplicates} annotations repeat an instruction that was judged before; all are "
            f"averaged, as the published rates are"
        )
    n_zero = sum(finite_number(row.get("preference")) == 0 for row in rows)
    if n_zero > _MANY_ZEROS * len(rows):
        messages.append(
            f"{n_zero} of {len(rows)} preferences are 0, which is read as a draw; on a scale from "
            "0 to 2 it would be a loss"
        )
    generators = Counter(
        row["generator_2"] for row in rows if isinstance(row.get("generator_2"), str)
    )
    ranked = sorted(generators.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) > 1:
        models = name_some(f"{display_name(name)} ({count})" for name, count in ranked)
        messages.append(f"the annotations belong to several models: {models}")
    elif model is not None and ranked and model not in generators:
        messages.append(
            f"the annotations say they judge {display_name(ranked[0][0])!r}, not {model!r}"
        )
    baselines = {row["generator_1"] for row in rows if isinstance(row.get("generator_1"), str)}
    judges = {judge for row in rows if (judge := judge_name(row)) is not None}
    for names, what in ((baselines, "baselines"), (judges, "judges")):
        if len(names) > 1:
            messages.append(f"several {what} are mixed: {name_some(sorted(names))}")
    return messages


def alpaca_eval_win_rate(
    annotations: Iterable[AlpacaEvalAnnotation],
    model: str | None = None,
    allow_failures: bool = False,
) -> WinRate:
    """The win rate of one model from its annotations, of either version.

    Args:
        annotations: records with ``preference``; ``index`` or ``instruction``, ``generator_1``,
            ``generator_2``, ``output_2`` or ``len_output_2`` are used for the checks and the
            average length where they are there.
        model: the name that ``generator_2`` should bear, if the caller knows it.
        allow_failures: average what is left even when more than a tenth of the annotations failed.

    Warns:
        EvaluationWarning: rows left out, duplicates, several models, another model, several
            baselines or judges, many draws stored as 0.

    Raises:
        EvaluationError: there are no records, none of them can be scored, more than a tenth failed
            (unless allowed), the two models are in both orders, or the preferences are on another
            scale.

    Source: the AlpacaEval leaderboards' own figures; Zephyr-7B-beta's 90.60 (1.03) in Table 1 of
    arXiv 2310.16944.
    """
    rows = checked_annotations(annotations)
    missing: Counter[str] = Counter()
    scores = []
    n_missing_as_draw = 0
    for row in rows:
        score, reason = row_score(row)
        if score is None:
            missing[reason] += 1
            continue
        scores.append(score)
        n_missing_as_draw += score == 0.5 and _judge_gave_nothing(row)
    if not scores:
        raise EvaluationError(
            f"none of {len(rows)} annotations can be scored ({count_some(missing)})",
            where="annotations",
            remedy=f"{failure_remedy(missing)}; each record needs a preference of 1 (baseline), 2 "
            "(model), or 0 or 1.5 (draw).",
        )
    failures = missing + Counter({"no answer of the judge, kept as a draw": n_missing_as_draw})
    check_failures(failures.total(), len(rows), failures, where="annotations", allow=allow_failures)
    values = np.sort(np.asarray(scores))  # so that sums are the same in any order of the rows
    keys = [row_key(row, position) for position, row in enumerate(rows)]
    n_duplicates = len(keys) - len(set(keys))
    lengths = [length for row in rows if (length := output_length(row, 2)) is not None]
    return WinRate(
        win_rate=float(100 * values.mean()),
        standard_error=float(100 * values.std(ddof=1) / np.sqrt(values.size))
        if values.size > 1
        else float("nan"),
        n_wins=int((values > 0.5).sum()),
        n_losses=int((values < 0.5).sum()),
        n_draws=int((values == 0.5).sum()),
        n_missing=missing.total(),
        n_missing_as_draw=n_missing_as_draw,
        n_duplicates=n_duplicates,
        missing=dict(sorted(missing.items())),
        average_length=int(sum(lengths) / len(lengths)) if lengths else None,
        warnings=warn_all(_row_warnings(rows, model, missing, n_duplicates)),
    )


def win_rate_difference(
    first: Iterable[AlpacaEvalAnnotation], second: Iterable[AlpacaEvalAnnotation], seed: int = 0
) -> PairedDifference:
    """First model minus second, in percentage points, paired over the instructions that both were
    scored on.

    Warns:
        EvaluationWarning: instructions that only one of the two was scored on, with their number.

    Raises:
        EvaluationError: no instruction in common, and as :func:`checked_annotations`.
    """
    ours, theirs = scores_by_instruction(first), scores_by_instruction(second)
    common = [key for key in ours if key in theirs]
    if not common:
        raise EvaluationError(
            "the two models were scored on no common instruction",
            where="win rate difference",
            remedy="compare two runs on one evaluation set.",
        )
    alone = len(ours) + len(theirs) - 2 * len(common)
    warn_all(
        [f"{alone} instructions were scored for one of the two models only and are left out"]
        if alone
        else []
    )
    return paired_difference(
        [100 * ours[key] for key in common], [100 * theirs[key] for key in common], seed=seed
    )


def shared_annotations(
    annotations_by_model: Mapping[str, Iterable[AlpacaEvalAnnotation]],
) -> list[tuple[str, str]]:
    """Pairs of models that share one set of annotations, or all but a few rows of it.

    Two strong models agree on nine instructions of ten because both nearly always win, so plain
    agreement proves nothing; Cohen's kappa takes the agreement by chance out. Unrelated models stay
    far below the limit of 0.9, a copied file reaches 1. Fewer than 20 shared instructions are not
    judged.

    Warns:
        EvaluationWarning: each pair that is found, with the share of equal rows.
    """
    preferences = {
        model: {
            row_key(row, i): finite_number(row.get("preference"))
            for i, row in enumerate(checked_rows(rows, "annotation"))
        }
        for model, rows in annotations_by_model.items()
    }
    pairs, messages = [], []
    for first, second in combinations(preferences, 2):
        common = preferences[first].keys() & preferences[second].keys()
        if len(common) < _ENOUGH_TO_COMPARE:
            continue
        ours = [preferences[first][key] for key in common]
        theirs = [preferences[second][key] for key in common]
        agreement = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(common)
        if _kappa(ours, theirs, agreement) > _COPIED_KAPPA:
            pairs.append((first, second))
            messages.append(
                f"{first} and {second} have one set of annotations ({agreement:.1%} of the rows "
                f"are equal)"
            )
    warn_all(messages)
    return pairs


def _kappa(ours: list[float | None], theirs: list[float | None], agreement: float) -> float:
    """Agreement beyond chance; zero where chance explains everything (all won, or all lost)."""
    first, second = Counter(ours), Counter(theirs)
    by_chance = sum(first[value] * second[value] for value in first) / len(ours) ** 2
    return (agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0
