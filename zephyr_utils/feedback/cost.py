"""Tokens and money: what the servers reported, what a price table makes of it, what a plan will
cost.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zephyr_utils.data.strict_yaml import load_yaml
from zephyr_utils.errors import HandbookError

CHARACTERS_PER_TOKEN = 4.0  # a rule of thumb for English, used until a server has counted
TOKENS_WITHOUT_LIMIT = 512  # expected of a reply that nothing limits, until one was measured
PRICE_FILE = "models: {NAME: {prompt: 2.50, completion: 10.00}}, currency: USD, per: 1000000"


@dataclass(frozen=True)
class Usage:
    """Calls and tokens as servers report them; ``uncounted`` calls came without a count and weigh
    nothing here.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.uncounted + other.uncounted,
        )

    def __str__(self) -> str:
        note = f" ({self.uncounted:,} calls not counted by the server)" if self.uncounted else ""
        return (
            f"{self.calls:,} calls, {self.prompt_tokens:,} tokens in, "
            f"{self.completion_tokens:,} tokens out{note}"
        )

    @classmethod
    def of(cls, prompt_tokens: int | None, completion_tokens: int | None) -> "Usage":
        """One call's usage."""
        counted = prompt_tokens is not None and completion_tokens is not None
        return cls(1, prompt_tokens or 0, completion_tokens or 0, int(not counted))


@dataclass(frozen=True)
class Prices:
    """What tokens cost, as the user says.

    Attributes:
        models: model name -> (price of prompt tokens, price of completion tokens), for ``per``
            tokens each.
    """

    models: Mapping[str, tuple[float, float]]
    currency: str = "USD"
    per: int = 1_000_000

    def cost(self, model: str, usage: Usage) -> float | None:
        """The cost in ``currency``, or None where the table does not have the model."""
        if model not in self.models:
            return None
        prompt, completion = self.models[model]
        return (prompt * usage.prompt_tokens + completion * usage.completion_tokens) / self.per

    @classmethod
    def load(cls, path: str | Path) -> "Prices":
        """Read a price table, a YAML file.

        Raises:
            HandbookError: there is no such file, or it is not a price table.
        """
        try:
            table = load_yaml(Path(path).read_text(encoding="utf-8"))
        # ValueError: a number of more than 4,300 digits, a NUL in the name.
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            mark = getattr(error, "problem_mark", None)
            line = f" in line {mark.line + 1}" if mark else ""
            raise _no_table(path, f"it cannot be read{line}: {why}") from error
        if not isinstance(table, dict) or not isinstance(table.get("models"), dict):
            raise _no_table(path, "it has no `models`")
        models = {}
        for name, row in table["models"].items():
            row = row if isinstance(row, dict) else {}
            prompt, completion = _price(row.get("prompt")), _price(row.get("completion"))
            if prompt is None or completion is None:
                raise _no_table(path, f"the prices of {name} are not two numbers of at least 0")
            models[str(name)] = (prompt, completion)
        per = table.get("per", 1_000_000)
        if not isinstance(per, int) or isinstance(per, bool) or not 0 < per <= _MOST_PER:
            raise _no_table(path, "`per` is not a number of tokens")
        return cls(models, str(table.get("currency", "USD")), per)


_MOST_PER = 10**12  # tokens that a price is for
_HIGHEST_PRICE = 1e12


def _price(value: Any) -> float | None:
    """A price, or None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _HIGHEST_PRICE else None


def _no_table(path: str | Path, what: str) -> HandbookError:
    return HandbookError(
        f"this is not a price table: {what}",
        where=str(path),
        remedy=f"write it in YAML: {PRICE_FILE}",
    )


def cost_of(model: str, usage: Usage, prices: Prices) -> str:
    """The cost in words."""
    cost = prices.cost(model, usage)
    return "no price given" if cost is None else f"{cost:,.4f} {prices.currency}"


@dataclass
class Estimate:
    """What a plan asks for, before anything is paid.

    Attributes:
        rows: (purpose, model) -> (calls still to be made, expected usage, most it can be). The most
            assumes that every reply runs to its limit; the expectation goes by what the journal has
            measured for the purpose and, where it has measured nothing, is the most as well.
        from_journal: calls that are paid for already.
        measured: purposes for which the journal had replies to go by.
        unlimited: those of the ``rows`` without a token limit. What they can be at most is not
            known; their most is the expectation.
    """

    rows: dict[tuple[str, str], tuple[Usage, Usage]] = field(default_factory=dict)
    from_journal: int = 0
    measured: set[str] = field(default_factory=set)
    unlimited: set[tuple[str, str]] = field(default_factory=set)

    @property
    def calls(self) -> int:
        """Calls still to be made."""
        return sum(most.calls for _, most in self.rows.values())

    def cost(self, prices: Prices) -> tuple[float, float]:
        """(expected, at most), in the table's currency; infinity where nothing limits the most.

        Raises:
            HandbookError: a model is not in the table, for half a sum would be no estimate.
        """
        totals = [0.0, 0.0]
        for (_, model), usages in self.rows.items():
            for n, usage in enumerate(usages):
                cost = prices.cost(model, usage)
                if cost is None:
                    known = ", ".join(prices.models) or "none"
                    raise HandbookError(
                        f"the price table has no price for {model!r}",
                        where="prices",
                        remedy=f"add it (0 for a model of your own); it has: {known}",
                    )
                totals[n] += cost
        return totals[0], math.inf if self.unlimited else totals[1]

    def text(self, prices: Prices | None = None) -> str:
        """The estimate as a table; with prices also the cost."""
        lines = [f"{self.calls:,} calls to make, {self.from_journal:,} in the journal already"]
        for (purpose, model), (expected, most) in self.rows.items():
            no_limit = (purpose, model) in self.unlimited
            basis = "measured so far"
            if purpose not in self.measured:
                basis = "nothing measured yet: " + ("assumed" if no_limit else "the most")
            limit = "no limit" if no_limit else f"at most {most.completion_tokens:,} out"
            lines.append(
                f"  {purpose}, {model}: {most.calls:,} calls, about {expected.prompt_tokens:,} "
                f"tokens in and {expected.completion_tokens:,} out ({basis}); {limit}"
            )
        if prices:
            expected_cost, most_cost = self.cost(prices)
            at_most = (
                f"at most {most_cost:,.4f} {prices.currency}"
                if math.isfinite(most_cost)
                else "with no upper limit, because no token limit is set"
            )
            lines.append(f"  cost: about {expected_cost:,.4f} {prices.currency}, {at_most}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()
