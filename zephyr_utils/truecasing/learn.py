"""Fitting: counts of the words, then a logistic regression on hashed features by AdaGrad (Duchi et
al. 2011).

Both look at well-cased messages alone. A word's statistics as a feature leave its own message out,
or else the model would lean on them more than they deserve on a message it has never seen.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from zephyr_utils.files import atomic_write
from zephyr_utils.truecasing.features import TABLE_BITS, feature_columns, shifted
from zephyr_utils.truecasing.lexicon import Lexicon, buckets
from zephyr_utils.truecasing.protect import join_messages, protected_ranges
from zephyr_utils.truecasing.words import Words, split_words

CHUNK_BYTES = 1 << 18
EPOCHS = 4
BATCH = 4096
RATE = 0.2
FORMAT = "zephyr-handbook truecaser 4"  # counts up with whatever changes a fit or a repair


def protected_words(words: Words, spans: list[tuple[int, int]]) -> np.ndarray:
    """Whether each word is in, or reaches into, one of the spans (sorted, disjoint): what must
    not be touched.
    """
    if not spans:
        return np.zeros(len(words), np.bool_)
    starts, ends = np.array(spans, np.int64).T
    nearest = np.searchsorted(ends, words.start, side="right")
    starts = np.append(starts, np.iinfo(np.int64).max)
    return starts[nearest] < words.end


def chunks(messages: list[bytes], size: int = CHUNK_BYTES) -> Iterator[list[bytes]]:
    """Runs of messages of about this many bytes."""
    run: list[bytes] = []
    held = 0
    for message in messages:
        run.append(message)
        held += len(message)
        if held >= size:
            yield run
            run, held = [], 0
    if run:
        yield run


def capital_masks(words: Words) -> np.ndarray:
    """Which bytes of each word are capital, as bits from its first byte; bytes past the 32nd are
    left out.
    """
    masks = np.zeros(len(words), np.uint32)
    places = np.flatnonzero(words.upper)
    word = np.searchsorted(words.start, places, side="right") - 1
    inside = (word >= 0) & (places < words.end[word])
    places, word = places[inside], word[inside]
    offset = places - words.start[word]
    near = offset < 32
    np.bitwise_or.at(masks, word[near], np.uint32(1) << offset[near].astype(np.uint32))
    return masks


@dataclass
class Example:
    """One chunk of the corpus, ready to learn from."""

    words: Words
    masks: np.ndarray
    protected: np.ndarray


def read_example(messages: list[bytes]) -> Example:
    joined = join_messages(messages)
    words = split_words(joined)
    return Example(words, capital_masks(words), protected_words(words, protected_ranges(joined)))


def in_titles(words: Words, masks: np.ndarray) -> np.ndarray:
    """Words of lines where most long words are capital: headings in title case tell nothing of a
    name.
    """
    line = np.cumsum(words.breaks) - 1
    long = (words.end - words.start >= 4) & ~words.digits & ~words.ends_sentence
    count = np.bincount(line, long)
    capital = np.bincount(line, long & (masks > 0))
    return ((capital > 0.6 * count) & (count > 0))[line]


class WordCounts:
    """Running counts by word, form and place."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.forms: list[np.ndarray] = []

    def add(self, example: Example) -> None:
        words = example.words
        opening = words.ends_sentence | in_titles(words, example.masks)
        used = ~example.protected & ~words.digits
        pairs = np.empty(int(used.sum()), [("word", np.uint64), ("row", np.int64)])
        pairs["word"], pairs["row"] = words.word[used], words.row[used]
        documents = np.unique(pairs)["word"]
        stop = shifted(words.ends_sentence & ~words.breaks & ~words.digits, 1, words.row, False)
        stop &= words.lower[np.minimum(words.end, len(words.lower) - 1)] == 46
        stop_lower = stop & (shifted(example.masks, 1, words.row, 1) == 0)
        self._collect(
            words.word[used],
            example.masks[used],
            opening[used],
            stop[used],
            stop_lower[used],
            documents,
        )

    def _collect(
        self,
        word: np.ndarray,
        masks: np.ndarray,
        opening: np.ndarray,
        stop: np.ndarray,
        stop_lower: np.ndarray,
        documents: np.ndarray,
    ) -> None:
        keys, inverse = np.unique(word, return_inverse=True)
        capital = masks > 0
        table = np.zeros(len(keys), [("word", np.uint64), ("counts", np.int64, 7)])
        table["word"] = keys
        for column, chosen in enumerate((~opening, ~opening & capital, opening, opening & capital)):
            table["counts"][:, column] = np.bincount(inverse, chosen, minlength=len(keys))
        table["counts"][:, 4] = np.bincount(np.searchsorted(keys, documents), minlength=len(keys))
        table["counts"][:, 5] = np.bincount(inverse, stop, minlength=len(keys))
        table["counts"][:, 6] = np.bincount(inverse, stop_lower, minlength=len(keys))
        self.parts.append(table)
        forms = np.empty(
            int(capital.sum()), [("word", np.uint64), ("opening", np.bool_), ("mask", np.uint32)]
        )
        forms["word"], forms["opening"], forms["mask"] = (
            word[capital],
            opening[capital],
            masks[capital],
        )
        unique, count = np.unique(forms, return_counts=True)
        counted = np.empty(len(unique), [("form", forms.dtype), ("count", np.int64)])
        counted["form"], counted["count"] = unique, count
        self.forms.append(counted)

    def lexicon(self, min_documents: int = 2) -> Lexicon:
        """Everything seen in at least so many messages: what one message alone knows must not be
        learned as known.
        """
        parts = np.concatenate(self.parts)
        keys, inverse = np.unique(parts["word"], return_inverse=True)
        counts = np.stack(
            [np.bincount(inverse, parts["counts"][:, column]) for column in range(7)], axis=1
        ).astype(np.int64)
        kept = counts[:, 4] >= min_documents
        keys, counts = keys[kept], counts[kept]
        forms = np.concatenate(self.forms)
        unique, inverse = np.unique(forms["form"], return_inverse=True)
        count = np.bincount(inverse, forms["count"]).astype(np.int64)
        form, opening_form = _best_forms(keys, unique, count)
        known = np.concatenate([np.zeros((1, 7), np.int64), counts]).T.astype(np.int32)
        keys = np.concatenate([np.zeros(1, np.uint64), keys])
        return Lexicon(
            keys,
            inside=known[0],
            capital=known[1],
            opening=known[2],
            opening_capital=known[3],
            documents=known[4],
            stop=known[5],
            stop_lower=known[6],
            form=form,
            opening_form=opening_form,
        )


def _best_forms(
    keys: np.ndarray, forms: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent capital form of each word, inside sentences and at starts; ties go to the
    smaller mask.
    """
    place = np.searchsorted(keys, forms["word"])
    known = (
        (place < len(keys)) & (keys[np.minimum(place, len(keys) - 1)] == forms["word"])
        if len(keys)
        else np.zeros(len(forms), bool)
    )

    def most_frequent(chosen: np.ndarray) -> np.ndarray:
        best = np.ones(len(keys) + 1, np.uint32)
        masks = forms["mask"][chosen]
        order = np.lexsort((-masks.astype(np.int64), count[chosen]))
        best[place[chosen][order] + 1] = masks[order]  # the last written wins: the most frequent
        return best

    inside = most_frequent(known & ~forms["opening"])
    opening = most_frequent(known & forms["opening"])
    seen_inside = np.zeros(len(keys) + 1, np.bool_)
    seen_inside[place[known & ~forms["opening"]] + 1] = True
    return np.where(seen_inside, inside, opening).astype(np.uint32), opening


def held_out_buckets(
    words: Words, example: Example, entry: np.ndarray, lexicon: Lexicon
) -> np.ndarray:
    """Buckets of the words with the counts of their own message left out."""
    opening = words.ends_sentence | in_titles(words, example.masks)
    used = ~example.protected & ~words.digits
    pair = words.row * np.int64(len(lexicon) + 1) + entry
    _, inverse = np.unique(pair, return_inverse=True)
    capital = example.masks > 0
    own = [
        np.bincount(inverse, chosen & used)[inverse]
        for chosen in (~opening, ~opening & capital, opening, opening & capital)
    ]
    counts = [lexicon.inside, lexicon.capital, lexicon.opening, lexicon.opening_capital]
    left = [np.maximum(total[entry] - mine, 0) for total, mine in zip(counts, own, strict=True)]
    held_out = buckets(*left)
    held_out[entry == 0] = 0
    return held_out


def fit_weights(
    messages: list[bytes],
    lexicon: Lexicon,
    epochs: int = EPOCHS,
    checkpoint: Path | None = None,
) -> np.ndarray:
    """Weights of the features: the log-odds of a capital is their sum.

    Args:
        messages: well-cased messages in UTF-8, in the order to learn in.
        lexicon: counts of their words.
        epochs: passes over the messages.
        checkpoint: a file that keeps the state after each pass; what it holds of the same messages
            is not learned again.

    Returns:
        float32 array of 2 ** TABLE_BITS weights.
    """
    state = _State.load(checkpoint, messages) if checkpoint else _State.new(messages)
    rng = np.random.default_rng(0)
    runs = list(chunks(messages))
    for epoch in range(epochs):
        order = rng.permutation(len(runs))
        if epoch < state.epochs:
            continue
        for run in order:
            example = read_example(runs[run])
            words = example.words
            bucket = held_out_buckets(words, example, lexicon.lookup(words.word), lexicon)
            columns = np.stack(list(feature_columns(words, bucket)), axis=1)
            used = np.flatnonzero(~example.protected & ~words.digits)
            target = (example.masks > 0).astype(np.float32)
            for batch in np.array_split(used, max(1, len(used) // BATCH)):
                _step(state.weights, state.squares, columns[batch], target[batch])
        state.epochs = epoch + 1
        if checkpoint and state.epochs < epochs:
            state.save(checkpoint)
    return state.weights


@dataclass
class _State:
    """How far a fit has come.

    Args:
        key: identifies the messages.
        weights, squares: of AdaGrad, float32.
        epochs: passes that are done.
    """

    key: str
    weights: np.ndarray
    squares: np.ndarray
    epochs: int

    @classmethod
    def new(cls, messages: list[bytes]) -> Self:
        digest = hashlib.sha256(FORMAT.encode())
        for message in messages:
            digest.update(len(message).to_bytes(8, "big") + message)
        weights = np.zeros(1 << TABLE_BITS, np.float32)
        return cls(digest.hexdigest(), weights, np.full_like(weights, 1e-6), 0)

    @classmethod
    def load(cls, path: Path, messages: list[bytes]) -> Self:
        """The state that the file keeps; a new one if there is none, or of other messages."""
        state = cls.new(messages)
        try:
            with np.load(path, allow_pickle=False) as stored:
                weights, squares = stored["weights"], stored["squares"]
                if str(stored["key"]) == state.key and weights.shape == state.weights.shape:
                    return cls(state.key, weights, squares, int(stored["epochs"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            pass  # none yet, or damaged
        return state

    def save(self, path: Path) -> None:
        with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
            np.savez(
                file,
                key=np.array(self.key),
                weights=self.weights,
                squares=self.squares,
                epochs=np.array(self.epochs),
            )


def _step(
    weights: np.ndarray, squares: np.ndarray, columns: np.ndarray, target: np.ndarray
) -> None:
    score = weights[columns].sum(axis=1)
    slope = 1 / (1 + np.exp(-np.clip(score, -30, 30))) - target
    flat = columns.ravel()
    each = np.repeat(slope, columns.shape[1]).astype(np.float32)
    np.add.at(squares, flat, each * each)
    np.add.at(weights, flat, -RATE * each / np.sqrt(squares[flat]))
