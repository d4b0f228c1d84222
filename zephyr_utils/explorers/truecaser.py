"""A message through the truecaser: what it was taken for, what it may not touch, which letters
change and why.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import traitlets

from zephyr_utils.explorers.casing import pack_truecaser
from zephyr_utils.explorers.common import Explorer, script
from zephyr_utils.truecasing import Truecaser, detect_case_noise, protected_spans
from zephyr_utils.truecasing.arrays import from_strings
from zephyr_utils.truecasing.protect import join_messages
from zephyr_utils.truecasing.words import LONE_I, split_words

READ = re.compile(r"[^\r]|\r(?!\n)")
WEBSITE_FOLDER = "_static/truecaser"  # of the models' files, from the root of the website


class TruecaserView(Explorer):
    """Messages before and after, to pick among; and the reader's own, by ``casing.js`` in the
    browser.

    The widget carries the truecaser's file. The website keeps it apart, under its address, and a
    page asks for it by a button.

    Args:
        truecaser: the fitted truecaser.
        texts: messages looked at beforehand.

    Attributes:
        examples: one dictionary per message, see :func:`look`.
        payload: the truecaser as :func:`pack_truecaser` makes it; empty on the website.
        file: ``address`` from the website's root, ``size`` in bytes, ``sha256``.
    """

    _esm = script("truecaser")

    examples: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    payload = traitlets.Bytes().tag(sync=True)
    file: "traitlets.Dict[str, Any]" = traitlets.Dict().tag(sync=True)

    def __init__(self, truecaser: Truecaser, texts: Sequence[str]) -> None:
        packed = pack_truecaser(truecaser)
        file = {
            "address": f"{WEBSITE_FOLDER}/truecaser-{packed.sha256[:16]}.bin",
            "size": len(packed.payload),
            "sha256": packed.sha256,
        }
        examples = [look(truecaser, text) for text in texts]
        super().__init__(examples=examples, payload=packed.payload, file=file)


def look(truecaser: Truecaser, text: str) -> dict[str, Any]:
    """One message, taken apart.

    Returns:
        ``text``, ``label`` (one of ``truecasing.LABELS``), ``parts``: the repaired message in
            pieces
        ``{text, was, kind, why}``, where kind is plain, protected or changed, and why is filled for
            changed words.
    """
    repaired = truecaser.truecase(text)
    [label] = detect_case_noise(pa.array([text]), truecaser).to_pylist()
    # "\r\n" is read as "\n": the places of the characters that are left, and the end.
    places = [match.start() for match in READ.finditer(text)] + [len(text)]
    plain = "".join(text[place] for place in places[:-1])
    marked = [
        (places[start], places[end], "protected", "") for start, end in protected_spans(plain)
    ]
    marked += [
        (places[start], places[end], "changed", why)
        for start, end, why in _words(truecaser, plain)
        if text[places[start] : places[end]] != repaired[places[start] : places[end]]
    ]
    parts, done = [], 0
    for start, end, kind, why in sorted(marked):
        if done < start:
            parts.append((done, start, "plain", ""))
        parts.append((start, end, kind, why))
        done = end
    if done < len(text):
        parts.append((done, len(text), "plain", ""))
    pieces = [
        {"text": repaired[start:end], "was": text[start:end], "kind": kind, "why": why}
        for start, end, kind, why in parts
    ]
    return {"text": text, "label": label, "parts": pieces}


def _words(truecaser: Truecaser, text: str) -> list[tuple[int, int, str]]:
    """Bounds of the words, in characters, with what decides on each: its place, its lexicon entry,
    its log-odds.
    """
    buffer = from_strings([text])
    if not len(buffer.data):
        return []
    raw, model = buffer.row(0), truecaser.model
    words = split_words(join_messages([raw]))
    entry = model.lexicon.lookup(words.word)
    scores = model.scores(words, entry)
    # Every character has one byte that is not a continuation byte; counting those before an edge
    # gives its index.
    characters = np.concatenate([[0], np.cumsum((np.frombuffer(raw, np.uint8) & 0xC0) != 0x80)])
    found = []
    for n in range(len(words)):
        start, end = (int(characters[edge[n] - 1]) for edge in (words.start, words.end))
        inside, capital = int(model.lexicon.inside[entry[n]]), int(model.lexicon.capital[entry[n]])
        if words.breaks[n]:
            why = "opens the message" if words.first[n] else "opens a line"
        elif words.ends_sentence[n]:
            why = "stands behind the end of a sentence"
        elif words.word[n] == LONE_I:
            why = "the pronoun"
        elif entry[n] == 0:
            why = "not known: judged by its neighbours and its shape"
        else:
            why = (
                f"inside sentences the corpus writes it with a capital in {capital} of {inside} "
                "places"
            )
        found.append((start, end, f"{why}; log-odds of a capital {scores[n]:+.1f}"))
    return found
