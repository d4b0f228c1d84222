"""What must not be touched: code, addresses, paths, markup and maths.

Blocks that may cross lines (fences, display maths, `<pre>`) are found by ``blocks``, YAML between
rules by ``front_matter``. Everything else is found from *triggers*: bytes such as a backtick, a
slash, or a full stop with a letter right behind it. Triggers are rare and found by array
arithmetic, and only at a trigger is a pattern tried, which keeps this cheap. Every pattern ignores
case, so a text and its recased form protect the same bytes; every repeat is bounded or anchored, so
the time is linear in the text.
"""

import re

import numpy as np

from zephyr_utils.truecasing.arrays import distinct, merged
from zephyr_utils.truecasing.blocks import block_spans, is_json
from zephyr_utils.truecasing.code_lines import code_line_spans
from zephyr_utils.truecasing.front_matter import front_matter_spans

# What a trigger may open, tried at the trigger's own byte.
AT = {
    ord(character): re.compile(pattern, re.I)
    for character, pattern in {
        "`": rb"(`{1,3})(?!`)[^\n]{1,400}?(?<!`)\1(?!`)",
        "$": rb"\$(?=[^\s$])[^$\n]{0,300}(?<=\S)\$(?!\d)|\$\{?[a-z_]\w{0,40}\}?",
        "\\": rb"\\[a-z]{1,40}\*?(?:\{[^{}\n]{0,200}\}|\[[^\[\]\n]{0,80}\]){0,9}",
        "/": rb"/[^\s<>\"()]+",
        "@": rb"@[a-z_]\w*",
        "#": rb"#[a-z_]\w*",
        "{": rb"\{[^{}\n]{1,80}\}",
        "<": rb"</?[a-z!][^<>\n]{0,400}>",
        "&": rb"&(?:[a-z]{2,10}|#\w{1,8});",
        "]": rb"\](?:\([^()\n]{1,300}\)|:[ \t]+(?:https?:|/|<)\S+)",
        "(": rb"\((?!(?:s|es|ies|d|ed)\))(?:[^()\s]{0,80}|[^()\n]{0,80}[=,\"'\[][^()\n]{0,80})\)",
        "=": rb"=[=>]? ?[\"']?[\w.()\[\]*/+^-]{1,200}",
        "^": rb"\^[\w({-]+",
        "-": rb"--[a-z][\w-]*(?:=\S+)?|-[a-z](?=[\s,])",
        ".": rb"\.[a-z]\w*",
        ":": rb":(?://|\\|/)[^\s<>\"]+|:[^\s<>\"]+",
    }.items()
}
NEEDS_WORD_BEFORE = frozenset(b"(=^")
NEEDS_NOTHING_BEFORE = frozenset(b"/@#-.")  # before a slash "~" and "." may occur
JOINERS = frozenset(b"._/\\@")
SIGNS_BEFORE_EQUALS = frozenset(b" !<>:+-*/")
SCHEMES = re.compile(rb"[a-z][a-z0-9+.-]{0,20}\Z", re.I)
SCHEME_BYTES = 21
OPEN_SCHEMES = frozenset((b"mailto", b"tel", b"data", b"javascript"))
ABBREVIATION = re.compile(rb"[a-z](?:\.[a-z])+\.?", re.I)

# What each byte may be: inside a token (bit 0), a trigger beside the right neighbours (bit 1), a
# trigger always (bit 2).
_INSIDE, _SOMETIMES, _ALONE = 1, 2, 4
_WORD = np.zeros(256, np.bool_)
_WORD[list(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")] = True
_WORD[128:] = True
_LETTER = _WORD.copy()
_LETTER[list(b"0123456789")] = False
_KIND = _WORD.astype(np.uint8)
_KIND[list(b"./\\@-%+~")] |= _INSIDE
_KIND[list(b"./:-](~")] |= _SOMETIMES
_KIND[list(b"`$<\\@_#{=^&")] |= _ALONE
_OPENS_MATHS, _SPACE = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_OPENS_MATHS[list(b"[({")] = True
_SPACE[list(b" \t\n\r\0")] = True
_BLOCKISH = np.zeros(256, np.bool_)
_BLOCKISH[list(b"`$<\\~")] = True


def protected_spans(text: str) -> list[tuple[int, int]]:
    """The spans of a text that truecasing never alters, as (start, end) in characters, sorted and
    disjoint.
    """
    raw = text.encode("utf-8", "surrogatepass")
    spans = protected_bytes(raw)
    if len(raw) == len(text) or not spans:
        return spans
    # Every character has one byte that is not a continuation byte; counting those before an edge
    # gives its index.
    characters = np.concatenate([[0], np.cumsum((np.frombuffer(raw, np.uint8) & 0xC0) != 0x80)])
    return [(int(characters[start]), int(characters[end])) for start, end in spans]


def protected_bytes(raw: bytes) -> list[tuple[int, int]]:
    """The same spans of one message in UTF-8, in bytes."""
    return [(start - 1, end - 1) for start, end in protected_ranges(join_messages([raw]))]


def join_messages(messages: list[bytes]) -> np.ndarray:
    """The messages between zero bytes; zero bytes of their own become another control character."""
    joined = b"\0".join(message.replace(b"\0", b"\1") for message in messages)
    return np.frombuffer(b"\0" + joined + b"\0", np.uint8)


def protected_ranges(joined: np.ndarray) -> list[tuple[int, int]]:
    """The spans of messages that are joined, and surrounded, by zero bytes; none crosses one."""
    hits, left, right = _triggers(joined)
    zeros = np.flatnonzero(joined == 0)
    raw = joined.tobytes()
    spans = _json_messages(joined, zeros) + code_line_spans(raw, joined, hits)
    spans += front_matter_spans(raw)
    if not len(hits):
        return merged(spans)
    message = np.searchsorted(zeros, hits) - 1
    finish = zeros[message + 1]
    for which in distinct(message[_BLOCKISH.take(joined[hits])]).tolist():
        start, end = int(zeros[which]) + 1, int(zeros[which + 1])
        spans += [(start + first, start + last) for first, last in block_spans(raw[start:end])]
    covered = 0
    tokens = _Tokens(raw)
    for at, start, end, limit in zip(
        hits.tolist(), left.tolist(), right.tolist(), finish.tolist(), strict=True
    ):
        if at >= covered and (span := _opened(raw, at, start, end, limit, tokens)) is not None:
            spans.append(span)
            covered = span[1]
    return merged(spans)


class _Tokens:
    """Answers about the runs of bytes without blanks in which triggers stand.

    An answer costs as much as the token is long and many triggers may occur in it, so the answers
    about the latest token are kept.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._joined: tuple[int, tuple[int, int] | None] = (-1, None)
        self._path_end = (-1, -1)

    def joined(self, start: int, end: int) -> tuple[int, int] | None:
        """The token without the marks at its end; None if it is an abbreviation ("e.g.")."""
        if self._joined[0] != start:
            end = start + len(self.raw[start:end].rstrip(b".-%+~"))
            shortened = ABBREVIATION.fullmatch(self.raw, start, end)
            self._joined = (start, None if shortened else (start, end))
        return self._joined[1]

    def path_opening_end(self, start: int, end: int) -> int:
        """Where the full stops and tildes end that the token opens with, as "~/" and "../" do."""
        if self._path_end[0] != start:
            self._path_end = (start, end - len(self.raw[start:end].lstrip(b"~.")))
        return self._path_end[1]


def _json_messages(joined: np.ndarray, zeros: np.ndarray) -> list[tuple[int, int]]:
    first = joined[zeros[:-1] + 1]
    spans = []
    for which in np.flatnonzero((first == 123) | (first == 91)).tolist():
        start, end = int(zeros[which]) + 1, int(zeros[which + 1])
        if is_json(joined[start:end].tobytes()):
            spans.append((start, end))
    return spans


def _triggers(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the triggers, with the bounds of the token that each is in."""
    kind = _KIND.take(array)
    places = np.flatnonzero(kind >= _SOMETIMES)  # what may be a trigger, by its neighbours
    places = places[(places > 0) & (places < len(array) - 1)]
    here, before, after = array[places], array[places - 1], array[places + 1]
    letter_before, letter_after = _LETTER.take(before), _LETTER.take(after)
    word_after = _WORD.take(after)
    hit = kind[places] >= _ALONE
    # Most marks of markdown are out here: headings, rules, rows of tables.
    hit &= (here != 35) | letter_after  # #x
    hit &= (here != 92) | (word_after | _OPENS_MATHS.take(after))  # \x \[
    hit &= (here != 60) | (letter_after | (after == 47) | (after == 33))  # <x </ <!
    hit &= (here != 38) | (letter_after | (after == 35))  # &x &#
    hit &= (here != 36) | ~_SPACE.take(after)  # $x $$
    hit |= (here == 46) & letter_after  # .x
    hit |= (here == 47) & (letter_before | letter_after)  # x/ /x
    hit |= (here == 58) & (letter_after | (after == 47) | (after == 92))  # :x :/ :\
    beyond = _LETTER.take(array[np.minimum(places + 2, len(array) - 1)])
    hit |= (here == 45) & ((after == 45) & beyond | (letter_after & (before == 32)))  # --x " -x"
    hit |= (here == 93) & ((after == 40) | (after == 58))  # ]( ]:
    hit |= (here == 40) & letter_before  # x(
    hit |= (here == 126) & (after == 126)  # ~~
    hits = places[hit]
    if not len(hits):
        return hits, hits, hits
    gap = kind & _INSIDE == 0
    symbols = np.flatnonzero(array == 0xE2)  # dashes and quotation marks are three bytes from here
    for offset in range(3):
        gap[np.minimum(symbols + offset, len(array) - 1)] = True
    gaps = np.flatnonzero(gap)
    following = np.searchsorted(gaps, hits)
    left = gaps[following - 1] + 1
    right = np.where(gap[hits], hits, gaps[np.minimum(following, len(gaps) - 1)])
    return hits, left, right


def _opened(
    raw: bytes, at: int, start: int, end: int, limit: int, tokens: _Tokens
) -> tuple[int, int] | None:
    """The span that the trigger at a byte opens or is in, if it does.

    Start and end bound its token, and the limit is the end of its message.
    """
    byte = raw[at]
    word_before = at > start and bool(_WORD[raw[at - 1]])
    if byte in JOINERS and (byte == 95 or (word_before and at + 1 < end and _WORD[raw[at + 1]])):
        return tokens.joined(start, end)
    if byte not in AT:
        return None
    if byte == 58:  # a colon: a scheme before it makes an address or a drive of it
        scheme = raw[max(start, at - SCHEME_BYTES - 1) : at]
        if not SCHEMES.match(scheme) or not (
            raw[at + 1 : at + 2] in b"/\\" or scheme.lower() in OPEN_SCHEMES
        ):
            return None
    elif byte in NEEDS_WORD_BEFORE:
        if byte == 61 and raw[at - 1] in SIGNS_BEFORE_EQUALS:
            start = at - 1
            while (
                start > 0
                and at - start < 60
                and (_WORD[raw[start - 1]] or (raw[start - 1] == 32 and start == at - 1))
            ):
                start -= 1
        elif not word_before:
            return None
    elif byte in NEEDS_NOTHING_BEFORE:
        if at > start and (byte != 47 or at > tokens.path_opening_end(start, end)):
            return None
    else:
        start = at
    match = AT[byte].match(raw, at, limit)
    return (start, match.end()) if match else None
