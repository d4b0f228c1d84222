"""Datasets on the Hugging Face Hub: their addresses, pinned to a revision, and their rows."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from zephyr_utils.data.rows import Row
from zephyr_utils.errors import HandbookError


@dataclass(frozen=True)
class HubAddress:
    """A dataset (or a model) on the Hugging Face Hub, at one revision.

    Attributes:
        path: such as ``HuggingFaceH4/ultrachat_200k``.
        revision: the commit; None only where none is known yet (see `resolved`).
        split: such as ``train_sft``; may be left out where there is only one.
        name: the configuration, for datasets that have several.
    """

    path: str
    revision: str | None
    split: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.path}@{self.revision or 'newest'}" + (f":{self.split}" if self.split else "")

    def resolved(self) -> "HubAddress":
        """The same address with the newest commit filled in where the revision is None (asks the
        Hub).
        """
        if self.revision is not None:
            return self
        from huggingface_hub import HfApi

        try:
            return replace(self, revision=HfApi().dataset_info(self.path).sha)
        # the client raises a dozen kinds: refused, unknown, offline, time-out
        except Exception as error:
            raise _unreachable(self, error) from error


def hub_rows(address: HubAddress, limit: int | None) -> Iterator[Row]:
    """The rows of a Hub dataset; streamed if only the first ``limit`` are wanted.

    Raises:
        HandbookError: the Hub does not serve it, or it has several splits and none is named.
    """
    import datasets

    try:
        # With a limit, stream: a lesson's slice must not download gigabytes.
        data = datasets.load_dataset(
            address.path,
            address.name,
            split=address.split,
            revision=address.revision,
            streaming=limit is not None,
        )
    except Exception as error:
        # datasets and the Hub client raise a dozen kinds: refused, unknown, offline, time-out.
        raise _unreachable(address, error) from error
    if isinstance(data, dict):
        if len(data) != 1:
            raise HandbookError(
                f"the dataset has several splits: {', '.join(data)}",
                where=str(address),
                remedy="name one split in the address",
            )
        data = next(iter(data.values()))
    values = iter(data)
    for number in itertools.count(1):
        try:
            value = next(values)
        except StopIteration:
            return
        except Exception as error:  # a stream breaks off as a request does
            raise _unreachable(address, error) from error
        yield Row(f"{address}, row {number}", value)


def _unreachable(address: HubAddress, error: Exception) -> HandbookError:
    lines = str(error).splitlines()
    return HandbookError(
        f"the Hub did not serve this dataset ({type(error).__name__}: {lines[0] if lines else ''})",
        where=str(address),
        remedy="check the network and the address, or give a local file (JSONL, JSON, CSV or "
        "Parquet) instead",
    )
