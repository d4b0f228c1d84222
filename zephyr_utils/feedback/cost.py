"""Tokens and money: what the servers reported, what a price table makes of it, what a plan will
cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zephyr_utils.errors import HandbookError

CHARACTERS_PER_TOKEN = 4.0  # a rule of thumb for English, used until a server has counted
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
        return Usage(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))

    def __str__(self) -> str:
        note = f" ({self.uncounted:,} calls not counted by the server)" if self.uncounted else ""
        return f"{self.calls:,} calls, {self.prompt_tokens:,} tokens in, {self.completion_tokens:,} tokens out{note}"

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
            HandbookError: there is no such file, or it is no price table.
        """
        try:
            table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise _no_table(path, f"it cannot be read: {str(error).splitlines()[0]}") from error
        if not isinstance(table, dict) or not isinstance(table.get("models"), dict):
            raise _no_table(path, "it has no `models`")
        models = {}
        for name, row in table["models"].items():
            pair: list[Any] = (
                [row.get(side) for side in ("prompt", "completion")]
                if isinstance(row, dict)
                else [None]
            )
            if not all(
                isinstance(p, int | float) and not isinstance(p, bool) and p >= 0 for p in pair
            ):
                raise _no_table(path, f"the prices of {name} are no two numbers from 0 upwards")
            models[str(name)] = (float(pair[0]), float(pair[1]))
        per = table.get("per", 1_000_000)
        if not isinstance(per, int) or isinstance(per, bool) or per <= 0:
            raise _no_table(path, "`per` is no number of tokens")
        return cls(models, str(table.get("currency", "USD")), per)


def _no_table(path: Any, what: str) -> HandbookError:
    return HandbookError(
        f"this is no price table: {what}", where=str(path), remedy=f"write it in YAML: {PRICE_FILE}"
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
    """

    rows: dict[tuple[str, str], tuple[Usage, Usage]] = field(default_factory=dict)
    from_journal: int = 0
    measured: set[str] = field(default_factory=set)

    @property
    def calls(self) -> int:
        """Calls still to be made."""
        return sum(most.calls for _, most in self.rows.values())

    def cost(self, prices: Prices) -> tuple[float, float]:
        """(expected, at most), in the table's currency.

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
        return totals[0], totals[1]

    def text(self, prices: Prices | None = None) -> str:
        """The estimate as a table; with prices also the cost."""
        lines = [f"{self.calls:,} calls to make, {self.from_journal:,} in the journal already"]
        for (purpose, model), (expected, most) in self.rows.items():
            basis = (
                "measured so far" if purpose in self.measured else "nothing measured yet: the most"
            )
            lines.append(
                f"  {purpose}, {model}: {most.calls:,} calls, about {expected.prompt_tokens:,} "
                f"tokens in and "
                f"{expected.completion_tokens:,} out ({basis}); at most {most.completion_tokens:,} "
                f"out"
            )
        if prices:
            expected_cost, most_cost = self.cost(prices)
            lines.append(
                f"  cost: about {expected_cost:,.4f} {prices.currency}, at most {most_cost:,.4f} "
                f"{prices.currency}"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()
