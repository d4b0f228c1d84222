"""The truecaser: fitted on a corpus's own well-cased majority, applied to the rest of it."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import pyarrow as pa

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import recase
from zephyr_utils.truecasing.arrays import (
    Text,
    TextBuffer,
    arrow_with_edits,
    check_text_array,
    from_arrow,
    from_strings,
    strings_with_edits,
    with_line_feeds,
)
from zephyr_utils.truecasing.detect import OK, surface_labels
from zephyr_utils.truecasing.features import TABLE_BITS
from zephyr_utils.truecasing.learn import FORMAT, WordCounts, chunks, fit_weights, read_example
from zephyr_utils.truecasing.lexicon import Lexicon
from zephyr_utils.truecasing.reading import Model, in_eight_bits
from zephyr_utils.truecasing.recase import Repair

LEXICON_FIELDS = tuple(field.name for field in dataclasses.fields(Lexicon))
DTYPES = dict.fromkeys(LEXICON_FIELDS, np.int32) | {
    "keys": np.uint64,
    "form": np.uint32,
    "opening_form": np.uint32,
}
# A word that is capital this often inside sentences is taken for a name when the fit is cleaned.
NAME_RATE, NAME_COUNT = 0.9, 5


class Truecaser:
    """Repairs wrongly cased messages and leaves the others untouched, byte for byte.

    Example:
        >>> truecaser = Truecaser.fit(messages)
        >>> truecaser.truecase("Hello. how are you?")
        'Hello. How are you?'

    Attributes:
        kept, set_aside: how many messages the fit used, and how many it left out as faulty or
            empty.
    """

    def __init__(self, model: Model, kept: int = 0, set_aside: int = 0) -> None:
        self.model = model
        self.kept, self.set_aside = kept, set_aside

    @classmethod
    def fit(
        cls,
        texts: Iterable[str | None] | pa.Array | pa.ChunkedArray,
        checkpoint: Path | None = None,
    ) -> Self:
        """Learn from texts; wrongly cased ones among them are found and kept out.

        Args:
            texts: messages of one corpus. 20 MB are plenty; the whole is held in memory.
            checkpoint: a file that keeps the state after each pass, so that a fit on the same texts
                goes on after a kill; the caller removes it.

        Raises:
            HandbookError: there is no text, or none that is well cased.
        """
        if isinstance(texts, str):
            raise HandbookError(
                "expected many texts, found one string",
                where="Truecaser.fit",
                remedy="pass a list of str",
            )
        if isinstance(texts, pa.Array | pa.ChunkedArray):
            check_text_array(texts)
            texts = _readable_texts(texts)
        buffer = with_line_feeds(from_strings([text for text in texts if text])).text
        if not len(buffer):
            raise HandbookError(
                "there is no text to fit on",
                where="Truecaser.fit",
                remedy="pass at least a few hundred messages",
            )
        messages = [
            buffer.row(row) for row in np.flatnonzero(surface_labels(buffer) == OK).tolist()
        ]
        messages = _without_hidden_faults(messages)
        lexicon = _count(messages).lexicon() if messages else None
        if lexicon is None or not lexicon.capital.sum() + lexicon.opening_capital.sum():
            raise HandbookError(
                f"none of {len(buffer)} texts can be learned from: all are wrongly cased, or no "
                f"word occurs in two of them",
                where="Truecaser.fit",
                remedy="fit on the well-cased majority of the corpus",
            )
        order = np.random.default_rng(0).permutation(len(messages))
        ordered = [messages[index] for index in order]
        weights = fit_weights(ordered, lexicon, checkpoint=checkpoint)
        return cls(
            Model(lexicon, *in_eight_bits(weights)), len(messages), len(buffer) - len(messages)
        )

    def truecase(self, text: str) -> str:
        """The text with its case repaired; the very same object if nothing was wrong."""
        return self.truecase_batch([text])[0]

    @overload
    def truecase_batch(self, texts: list[Text]) -> list[Text]: ...

    @overload
    def truecase_batch(self, texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray: ...

    def truecase_batch(self, texts: Any) -> Any:
        """Repair many texts at once.

        Args:
            texts: a list of strings (None is passed through), or an Arrow array of strings of any
                kind.

        Returns:
            The same kind, of the same length and type; every text keeps its length. An Arrow array
            without a fault is returned as it came, and one with faults shares all but its data
            buffer.

        Raises:
            HandbookError: an item or the array is not text.
        """
        if isinstance(texts, pa.ChunkedArray):
            return pa.chunked_array(
                [self.truecase_batch(chunk) for chunk in texts.chunks], texts.type
            )
        if isinstance(texts, pa.Array):
            return self._truecase_array(texts)
        buffer = from_strings(texts)
        return strings_with_edits(texts, buffer, self.repair(buffer).positions)

    def _truecase_array(self, texts: pa.Array) -> pa.Array:
        check_text_array(texts)
        if pa.types.is_null(texts.type):
            return texts
        if pa.types.is_string_view(texts.type):
            return self._truecase_array(texts.cast(pa.large_string())).cast(texts.type)
        return arrow_with_edits(texts, self.repair(from_arrow(texts)).positions)

    def recase(self, texts: list[str]) -> list[str]:
        """Give every text the case that the model would, whatever case it has now; to measure the
        recaser alone.
        """
        buffer = from_strings(texts)
        return strings_with_edits(
            texts, buffer, recase.repair(self.model, buffer, force=True).positions
        )

    def repair(self, text: TextBuffer) -> Repair:
        """Labels of the rows and the bytes to flip."""
        return recase.repair(self.model, text)

    def fingerprint(self) -> str:
        """A short hash of the fitted statistics and their format: equal models repair alike."""
        digest = hashlib.sha256(FORMAT.encode())
        digest.update(self.model.weights.tobytes() + np.float64(self.model.step).tobytes())
        for name in LEXICON_FIELDS:
            digest.update(getattr(self.model.lexicon, name).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write the model as one npz file of arrays."""
        fields = {name: getattr(self.model.lexicon, name) for name in LEXICON_FIELDS}
        used = np.flatnonzero(self.model.weights)
        with open(path, "wb") as file:
            np.savez_compressed(
                file,
                format=np.array(FORMAT),
                messages=np.array([self.kept, self.set_aside]),
                weight_index=used.astype(np.uint32),
                weight_value=self.model.weights[used],
                weight_step=np.array(self.model.step),
                **fields,
            )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model back.

        Raises:
            HandbookError: there is no such file, or it is not a truecaser's, or it is damaged.
        """
        if not Path(path).is_file():
            raise HandbookError(
                "there is no such file", where=str(path), remedy="fit a truecaser and save it first"
            )
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["format"]) != FORMAT:
                    raise ValueError("unknown format")
                arrays = {name: stored[name] for name in LEXICON_FIELDS}
                index, value = stored["weight_index"], stored["weight_value"]
                step = float(stored["weight_step"])
                kept, set_aside = stored["messages"].tolist()
            if any(
                array.dtype != DTYPES[name] or array.ndim != 1 for name, array in arrays.items()
            ):
                raise ValueError("fields of another type")
            if len({len(array) for array in arrays.values()}) != 1 or not len(arrays["keys"]):
                raise ValueError("fields of unequal length")
            if not (
                np.isfinite(step)
                and step > 0
                and index.shape == value.shape
                and value.dtype == np.int8
            ):
                raise ValueError("weights that cannot be")
            weights = np.zeros(1 << TABLE_BITS, np.int8)
            weights[index] = value
            return cls(Model(Lexicon(**arrays), weights, step), kept, set_aside)
        except Exception as error:
            raise HandbookError(
                f"this is not a model of a truecaser, or it is damaged ({error})",
                where=str(path),
                remedy="fit the truecaser again and save it",
            ) from error


def _readable_texts(array: pa.Array | pa.ChunkedArray) -> Iterator[str]:
    """The texts of an array but those that are not UTF-8."""
    for value in array:
        try:
            yield value.as_py() or ""
        except UnicodeDecodeError:
            continue


def _count(messages: list[bytes]) -> WordCounts:
    counts = WordCounts()
    for run in chunks(messages):
        counts.add(read_example(run))
    return counts


def _without_hidden_faults(messages: list[bytes]) -> list[bytes]:
    """Leave out messages without a capital inside that hold a word which the others nearly always
    write as a name.

    "Ana lives in paris." shows no fault on its surface; next to a thousand messages that write
    Paris it does.
    """
    if not messages:
        return messages
    suspects = {
        index
        for index, message in enumerate(messages)
        if not any(65 <= byte <= 90 for byte in message[1:])
    }
    clean = [message for index, message in enumerate(messages) if index not in suspects]
    if not clean or not suspects:
        return messages
    lexicon = _count(clean).lexicon()
    name = (lexicon.inside >= NAME_COUNT) & (lexicon.capital >= NAME_RATE * lexicon.inside)
    kept = list(clean)
    ordered = sorted(suspects)
    for run in chunks([messages[index] for index in ordered]):
        words = read_example(run).words
        inside = ~words.ends_sentence & name[lexicon.lookup(words.word)]
        betrayed = set(words.row[inside].tolist())
        kept += [message for row, message in enumerate(run) if row not in betrayed]
    return kept
