"""Published figures that the handbook compares its own with, each with its source.

Facts only: the paper's tables, the log on Zephyr-7B-beta's model card, and the final figures of
public runs. The raw annotations behind them have licences of their own and are not part of this
package.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from zephyr_utils.errors import HandbookError

_FOLDER = Path(str(resources.files(__package__)))
ZEPHYR_DPO_LOG = _FOLDER / "zephyr_7b_beta_dpo_log.csv"


@dataclass(frozen=True)
class PublishedTable:
    """A table with where it was printed and how to read it; ``rows`` map column names to figures
    (None: not given).
    """

    title: str
    source: str
    note: str
    rows: tuple[dict, ...]


def published_names() -> list[str]:
    """The names that :func:`published_table` knows."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def published_table(name: str) -> PublishedTable:
    """One published table by name, such as "table_1".

    Raises:
        HandbookError: there is no table of that name; lists those there are.
    """
    if name not in published_names():
        raise HandbookError(
            "there is no published table of that name",
            where=repr(name),
            remedy=f"choose one of {', '.join(published_names())}.",
        )
    content = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return PublishedTable(
        content["title"], content["source"], content["note"], tuple(content["rows"])
    )
