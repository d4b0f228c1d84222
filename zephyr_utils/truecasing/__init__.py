"""Truecasing: find wrongly cased messages of a chat corpus, repair them, score the repair.

The fault is the one that a stray ``str.capitalize`` leaves ("Hello. how are you?"), and its
relatives. Everything is learned from the corpus's own well-cased majority: word statistics and a
logistic regression over hashed features, in numpy. Clean messages pass through untouched.

Files, on one machine or on several (each takes a share of the files, all fit the same model)::

    zephyr truecase shards/ --output truecased/ --shard-index 0 --num-shards 4

Every message is judged by itself, so the same function can be mapped over any split of a dataset::

    truecaser = Truecaser.load("truecased/truecaser.npz")
    repair = functools.partial(truecase_messages, column="messages", truecaser=truecaser)

    # datasets: Arrow tables in and out, without a Python string for a clean message
    tables = dataset.with_format("arrow")
    tables.map(repair, batched=True, batch_size=4000, num_proc=8).with_format(None)

    # Ray Data, from one machine to a cluster (``pip install 'zephyr-handbook[ray]'``)
    rows = ray.data.read_parquet("shards/").map_batches(repair, batch_format="pyarrow")
    rows.write_parquet("truecased/")
"""

from zephyr_utils.truecasing.corrupt import KINDS, corrupt_case
from zephyr_utils.truecasing.detect import LABELS, detect_case_noise
from zephyr_utils.truecasing.explain import WordReadings, read_words
from zephyr_utils.truecasing.files import FileReport, truecase_files
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.protect import protected_spans
from zephyr_utils.truecasing.scores import TruecasingScores, truecasing_scores
from zephyr_utils.truecasing.tables import ColumnReport, truecase_messages

__all__ = [
    "KINDS",
    "LABELS",
    "ColumnReport",
    "FileReport",
    "Truecaser",
    "TruecasingScores",
    "WordReadings",
    "corrupt_case",
    "detect_case_noise",
    "protected_spans",
    "read_words",
    "truecase_files",
    "truecase_messages",
    "truecasing_scores",
]
