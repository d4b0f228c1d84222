"""Published figures that the handbook compares its own with, and a few real records, each with its
source.

The figures are facts: the paper's tables, the log on Zephyr-7B-beta's model card, and the final
figures of public runs. The records are single examples under licences that let them be passed on;
each names its licence.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from zephyr_utils.errors import HandbookError

_FOLDER = Path(str(resources.files(__package__)))
_RECORDS = _FOLDER / "records"
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


@dataclass(frozen=True)
class PublishedRecord:
    """One record of a public data set or model card, as published, with where it comes from and the
    licence it is passed on under.
    """

    title: str
    source: str
    licence: str
    record: dict[str, Any]

    @property
    def attribution(self) -> str:
        """One line for the page that shows the record."""
        return f"{self.title}. Source: {self.source}. Licence: {self.licence}."


def record_names() -> list[str]:
    """The names that :func:`published_record` knows."""
    return sorted(path.stem for path in _RECORDS.glob("*.json"))


def published_record(name: str) -> PublishedRecord:
    """One real record by name, such as "ultrachat_dialogue".

    Raises:
        HandbookError: there is no record of that name; lists those there are.
    """
    if name not in record_names():
        raise HandbookError(
            "there is no published record of that name",
            where=repr(name),
            remedy=f"choose one of {', '.join(record_names())}.",
        )
    content = json.loads((_RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    return PublishedRecord(**content)
