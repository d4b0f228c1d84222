"""The settings that the search tries, and when a grid brackets its winner.

A grid is a ladder of learning rates, each twice the one before, for each choice of the other
values. Its winner has the best mean grade over the seeds (`seeds_of`; for `BY_HEART` and reward
models see `objective`). The methods of part two bring their grids (`METHODS`).
"""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from zephyr_utils.ablations.catalogue import BETAS, LOSSES, OWN_ANSWERS, PAIRINGS
from zephyr_utils.ablations.methods.catalogue import METHODS

Row = dict[str, Any]
SEEDS = (100, 101, 102)  # no replication of the claims has one of these
EXTENSIONS = 4  # how often a grid is extended at most
PIPELINE = ("dsft", "ddpo")
RATE = "learning_rate"
# Half and twice the middle of what an adapter of rank 16 bears on so small a model.
FEW = (8e-4, 1.6e-3, 3.2e-3)
# stage or row -> (learning rates, other values that are tried with each of them); what is not named
# here stays as the recipe has it
GRIDS: dict[str, tuple[tuple[float, ...], tuple[Row, ...]]] = {
    "dsft": ((2e-3, 4e-3, 8e-3), ({},)),
    "dsft_one_epoch": ((2e-3, 4e-3, 8e-3), ({},)),
    "ddpo": ((2e-4, 4e-4, 8e-4), ({},)),
    "ddpo_without_dsft": ((4e-4, 8e-4, 1.6e-3), ({},)),
    "dsft_2": ((5e-4, 1e-3, 2e-3), ({},)),
    **{row: (FEW, ({},)) for row in dict.fromkeys((*PAIRINGS, *BETAS, *LOSSES))},
    # IPO's beta is a distance per token, not DPO's: its own scale has to be searched too.
    "ipo": (FEW, ({"beta": 0.1}, {"beta": 1.0})),
    **{row: (FEW, ({},)) for row in OWN_ANSWERS},
    "best_of_4": ((5e-4, 1e-3, 2e-3), ({},)),
    "few_after_one": (FEW, ({},)),
    # Three epochs; the one that counts here is the last.
    "epochs_after_one": ((4e-4, 8e-4, 1.6e-3), ({},)),
    "epochs": ((4e-4, 8e-4, 1.6e-3), ({},)),
    "by_heart": ((8e-4, 1.6e-3, 3.2e-3), ({},)),
    "all_weights": ((5e-4, 1e-3, 2e-3), ({},)),
}
BY_HEART = {"by_heart", "all_weights"}  # rows that are to know their pairs by heart
REACHED = 0.95  # training accuracy
SEARCHED = {row.name: row for row in METHODS.values() if row.grid}


def varied(stage: str) -> str:
    """The value that a stage's grid is a ladder of."""
    return SEARCHED[stage].searched if stage in SEARCHED else RATE


def grid_of(stage: str) -> tuple[tuple[float, ...], tuple[Row, ...]]:
    """The ladder, and other values that are tried with each of its steps."""
    return (SEARCHED[stage].grid, ({},)) if stage in SEARCHED else GRIDS[stage]


def needs_another(stage: str) -> bool:
    """Whether a stage starts from the model of another whose rate is searched, too."""
    return stage in SEARCHED and SEARCHED[stage].needs in SEARCHED


def seeds_of(stage: str) -> tuple[int, ...]:
    """The seeds of a stage's search; a method of part two has two of the three."""
    return SEEDS[:2] if stage in SEARCHED else SEEDS


def objective(stage: str, rows: Sequence[Row]) -> float:
    """What a setting is chosen by: the mean grade over its seeds.

    A row that is to know its pairs by heart counts by its training accuracy until that is reached,
    and only beyond it by its grade. A reward model counts by its accuracy on held-out pairs.
    """
    grade = statistics.mean(row["score"] for row in rows)
    if stage not in BY_HEART:
        return grade
    accuracy = statistics.mean(row["accuracy_train"] for row in rows)
    return grade if accuracy >= REACHED else accuracy - 1  # below any grade


def setting_of(stage: str, row: Row) -> Row:
    """The values that the grid varies."""
    _, others = grid_of(stage)
    names = [varied(stage), *sorted({name for other in others for name in other})]
    return {name: row[name] for name in names if name in row}


def ranked(stage: str, tried: Sequence[Row]) -> list[tuple[Row, float, int]]:
    """Setting, objective and number of seeds, the best first."""
    groups: dict[str, list[Row]] = {}
    for row in tried:
        groups.setdefault(json.dumps(setting_of(stage, row)), []).append(row)
    found = [
        (json.loads(name), objective(stage, rows), len({row["seed"] for row in rows}))
        for name, rows in groups.items()
    ]
    return sorted(found, key=lambda one: -one[1])


def outcome(stage: str, tried: Sequence[Row]) -> Row:
    """What ``search.json`` says of a stage: its winner, whether the grid brackets it, and all that
    was tried.
    """
    whole = [one for one in ranked(stage, tried) if one[2] == len(seeds_of(stage))]
    return {
        "winner": whole[0][0] if whole else None,
        "mean": round(whole[0][1], 4) if whole else None,
        "bracketed": bool(whole) and end_of(stage, tried, whole[0][0]) == 0,
        "tried": list(tried),
    }


def end_of(stage: str, tried: Sequence[Row], setting: Row) -> int:
    """-1 or 1 where a setting has the lowest or highest learning rate of those tried with its other
    values (`GRIDS` names no others for most rows), 0 where it lies between two.
    """
    others = {name: value for name, value in setting.items() if name != varied(stage)}
    rates = {
        row[varied(stage)] for row in tried if others.items() <= setting_of(stage, row).items()
    }
    here = setting[varied(stage)]
    return 1 if here >= max(rates) else -1 if here <= min(rates) else 0


def wanted(stage: str, tried: Sequence[Row]) -> list[list[tuple[Row, int]]]:
    """What has to be tried next: for each seed, settings with it. First the grid; then, where its
    winner lies at an end, one more learning rate there, up to `EXTENSIONS` beyond the grid. Empty
    where the winner is bracketed.
    """
    missing = _next(stage, tried)
    by_seed = [[one for one in missing if one[1] == seed] for seed in seeds_of(stage)]
    return [one for one in by_seed if one]


def _next(stage: str, tried: Sequence[Row]) -> list[tuple[Row, int]]:
    name = varied(stage)
    rates, others = grid_of(stage)
    settings = [{name: rate, **other} for other in others for rate in rates]
    # also what a search that was killed had begun to try beyond the grid
    settings += [one for one, _, _ in ranked(stage, tried) if one not in settings]
    if missing := _missing(stage, settings, tried):
        return missing
    setting, _, _ = ranked(stage, tried)[0]
    end = end_of(stage, tried, setting)
    further = {row[name] for row in tried} - set(rates)
    if not end or len(further) >= EXTENSIONS:
        return []
    return _missing(stage, [{**setting, name: float(f"{setting[name] * 2.0**end:.6g}")}], tried)


def _missing(stage: str, settings: Sequence[Row], tried: Sequence[Row]) -> list[tuple[Row, int]]:
    there = {(json.dumps(setting_of(stage, row)), row["seed"]) for row in tried}
    return [
        (setting, seed)
        for setting in settings
        for seed in seeds_of(stage)
        if (json.dumps(setting_of(stage, setting)), seed) not in there
    ]
