"""The rows of part two: what trains each, and the settings that its search tries.

A row's learning rate (ExPO: its amount) was searched on development questions over seeds that
measure no claim, by ``benchmarks/search.py``; the winners are in
``recipes/<scale>/methods.yaml``.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from zephyr_utils.ablations import results
from zephyr_utils.data.strict_yaml import load_yaml
from zephyr_utils.errors import HandbookError
from zephyr_utils.online.rounds import round_recipe
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import RECIPES_FOLDER

Kind = Literal["pipeline", "loop", "rounds", "offline", "expo", "best", "reward", "rloo", "stopped"]


@dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        name: its key, and its folder's name.
        label: what tables call it.
        kind: how it is made (`measurements`).
        trains: of a ``loop``, the name of its function in `comparisons`.
        needs: the row whose model, or whose distance, it needs.
        settings: what makes it the row.
        searched: the setting that is searched, and the values tried first; "" takes those of the
            row that it `needs`.
        rate_of: a row whose settings it takes in place of a search of its own.
    """

    name: str
    label: str
    kind: Kind
    trains: str = ""
    needs: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    searched: str = "learning_rate"
    grid: tuple[float, ...] = ()
    rate_of: str = ""


PLAIN = (1e-4, 2e-4, 4e-4)  # all weights
ROUNDS = (1.6e-3, 3.2e-3, 6.4e-3)  # an adapter, as the rounds' recipe has it
AMOUNTS = (0.25, 0.5, 1.0)
METHODS = {
    row.name: row
    for row in (
        Method("dsft", "dSFT-1", "pipeline"),
        Method("ddpo", "dDPO + dSFT", "pipeline"),
        # sampling again
        Method("offline", "offline dDPO, as many steps", "offline", grid=(8e-4, 1.6e-3, 3.2e-3)),
        Method(
            "iterative", "iterative DPO, 3 rounds", "rounds", settings={"method": "dpo"},
            grid=ROUNDS,
        ),
        Method("sppo", "SPPO, 3 rounds", "rounds", settings={"method": "sppo"}, grid=ROUNDS),
        Method("selm", "SELM, 3 rounds", "rounds", settings={"method": "selm"}, grid=ROUNDS),
        # reward models
        Method(
            "reward", "reward model, Bradley-Terry", "reward", settings={"objective": "regular"},
            grid=(1e-3, 2e-3, 4e-3),
        ),
        Method(
            "reward_scaled", "reward model, scaled", "reward", settings={"objective": "scaled"},
            grid=(1e-3, 2e-3, 4e-3),
        ),
        Method(
            "reward_rated",
            "reward model, rating then scaled",
            "reward",
            settings={"objective": "scaled", "after_rating": True},
            grid=(1e-3, 2e-3, 4e-3),
        ),
        Method("best_of_8", "best of 8 of dSFT", "best", needs="reward", settings={"n": 8}),
        Method("rloo", "RLOO", "rloo", needs="reward", grid=PLAIN),
        Method("stopped", "DPO, to RLOO's KL at most", "stopped", needs="rloo", rate_of="regular"),
        # comparisons
        Method(
            "regular", "DPO", "loop", "train_strength", settings={"kind": "regular"}, grid=PLAIN
        ),
        Method(
            "margin", "DPO with margins", "loop", "train_strength", settings={"kind": "margin"},
            grid=PLAIN,
        ),
        Method(
            "scaled", "DPO, scaled", "loop", "train_strength", settings={"kind": "scaled"},
            grid=PLAIN,
        ),
        Method(
            "self_play", "IRFT, 2 rounds", "loop", "train_self_play", settings={"rounds": 2},
            grid=PLAIN,
        ),
        Method(
            "demonstrations", "dSFT on the same demonstrations", "loop", "train_on_demonstrations",
            grid=PLAIN,
        ),
        Method("chosen", "dSFT on chosen answers", "loop", "train_on_chosen", grid=PLAIN),
        Method("texts", "distilled, texts", "loop", "train_on_texts", grid=PLAIN),
        Method("logits", "distilled, logits", "loop", "train_on_logits", grid=PLAIN),
        Method("expo", "dDPO, ExPO", "expo", needs="ddpo", searched="amount", grid=AMOUNTS),
        Method(
            "expo_short", "DPO of 72 steps, ExPO", "expo", needs="regular", searched="amount",
            grid=AMOUNTS,
        ),
    )
}  # fmt: skip


def get_method(name: str) -> Method:
    """The row of that name.

    Raises:
        HandbookError: there is none; the message lists those there are.
    """
    if name not in METHODS:
        raise HandbookError(
            f"there is no method `{name}`",
            where="methods",
            remedy=f"choose from {', '.join(METHODS)}",
        )
    return METHODS[name]


def settings_of(scale: str, name: str) -> dict[str, Any]:
    """What a row is made with: what makes it the row, and what was searched for it.

    Raises:
        HandbookError: the scale has no searched value for a row that needs one.
    """
    method = get_method(name)
    known = _searched(scale).get(method.rate_of or name, {})
    if (method.grid or method.rate_of) and not known:
        raise HandbookError(
            f"the scale `{scale}` has no settings for `{name}`",
            where=f"recipes/{scale}/methods.yaml",
            remedy=f"search the stage `{method.rate_of or name}` with benchmarks/search.py",
        )
    return {**method.settings, **known}


def _searched(scale: str) -> dict[str, dict[str, Any]]:
    path = RECIPES_FOLDER / scale / "methods.yaml"
    return load_yaml(path.read_text(encoding="utf-8")) if path.is_file() else {}


def methods_provenance() -> dict[str, str]:
    """What measurements of the methods rest on: `results.provenance`, and their own settings."""
    pipeline = Pipeline()
    known = {name: settings_of(pipeline.scale, name) for name in METHODS}
    rounds = round_recipe(pipeline)
    return {**results.provenance(), "settings": fingerprint([known, dict(rounds)])}
