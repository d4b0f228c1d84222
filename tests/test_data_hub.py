"""Datasets of the Hub: asked for at a revision, streamed where a slice is wanted, and what is said
where the Hub cannot be reached.
"""

import datasets
import pytest
from sample_records import DIALOGUE, USER

from zephyr_utils.data.records import (
    HubAddress,
    RecordError,
    load_records,
)
from zephyr_utils.errors import HandbookError

ADDRESS = HubAddress("HuggingFaceH4/ultrachat_200k", "8049631", "train_sft")


def test_a_hub_dataset_is_asked_for_at_its_revision_and_streamed_if_only_a_slice_is_wanted(
    monkeypatch,
):
    asked = []

    def load_dataset(path, name, **options):
        asked.append((path, name, options))
        data = datasets.Dataset.from_list([DIALOGUE | {"prompt": str(i)} for i in range(5)])
        return data.to_iterable_dataset() if options["streaming"] else data

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert [r["prompt"] for r in load_records(ADDRESS, "dialogue", limit=2)] == ["0", "1"]
    assert len(load_records(ADDRESS, "dialogue")) == 5
    options = {"split": "train_sft", "revision": "8049631"}
    assert asked == [
        ("HuggingFaceH4/ultrachat_200k", None, options | {"streaming": True}),
        ("HuggingFaceH4/ultrachat_200k", None, options | {"streaming": False}),
    ]


def test_a_bad_row_of_a_hub_dataset_is_named_by_address_and_row(monkeypatch):
    data = datasets.DatasetDict(train=datasets.Dataset.from_list([{"messages": [USER]}]))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: data)
    with pytest.raises(
        RecordError, match="HuggingFaceH4/ultrachat_200k@8049631:train_sft, row 1, field messages"
    ):
        load_records(ADDRESS, "dialogue")


def test_several_splits_must_be_chosen_from(monkeypatch):
    data = datasets.DatasetDict(
        {name: datasets.Dataset.from_list([DIALOGUE]) for name in ("train_sft", "test_sft")}
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: data)
    with pytest.raises(HandbookError, match="train_sft, test_sft"):
        load_records(HubAddress("a/b", "c"), "dialogue")


def test_a_hub_that_cannot_be_reached_is_said_with_the_way_round_it(monkeypatch):
    def refuse(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HandbookError, match="no network") as error:
        load_records(ADDRESS, "dialogue")
    assert "local file" in error.value.remedy


def test_a_stream_that_breaks_off_is_said(monkeypatch):
    def rows():
        yield DIALOGUE
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: rows())
    with pytest.raises(HandbookError, match="reset by peer"):
        load_records(ADDRESS, "dialogue", limit=5)


def test_an_address_without_a_revision_is_resolved_once_and_then_pinned(monkeypatch):
    import huggingface_hub

    class Api:
        def dataset_info(self, path):
            return type("Info", (), {"sha": f"newest of {path}"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    resolved = HubAddress("stingning/ultrachat", None).resolved()
    assert str(resolved) == "stingning/ultrachat@newest of stingning/ultrachat"
    assert resolved.resolved() is resolved
