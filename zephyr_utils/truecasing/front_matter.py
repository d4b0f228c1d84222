"""YAML front matter: keys and values between two lines of three hyphens.

At the start of a message it is what it looks like. Further down two such lines may as well be
rules with a dialogue or a list between them, so there no line may end as a sentence does.
"""

import re

OPENING = re.compile(rb"[\0\n]---[ \t\r]*\n")
CLOSING = re.compile(rb"(?:---|\.\.\.)[ \t\r]*(?=[\0\n])")
LINE = re.compile(rb"[^\n\0]*[\n\0]")
KEY = re.compile(rb"[\"']?[\w.-]{1,60}[\"']?:(?=[ \t\r\n\0])")
# A nested line, an item, a comment or a blank line.
BESIDE = re.compile(rb"[ \t]+\S|-[ \t]|\#|[ \t\r]*(?=[\n\0])")
SENTENCE_END = re.compile(rb"[.!?][\"')]{0,2}[ \t\r]*\Z")


def front_matter_spans(raw: bytes) -> list[tuple[int, int]]:
    """The blocks of messages between zero bytes, as spans in bytes; ascending and disjoint."""
    spans: list[tuple[int, int]] = []
    at = 0
    while (opening := OPENING.search(raw, at)) is not None:
        start, opens_message = opening.start() + 1, raw[opening.start()] == 0
        end, is_block = _block_end(raw, opening.end(), opens_message)
        if is_block:
            spans.append((start, end))
        at = end
    return spans


def _block_end(raw: bytes, at: int, opens_message: bool) -> tuple[int, bool]:
    """Where a block that was opened ends, and whether it is one; else where its lines stop being
    those of a block.
    """
    has_key, end = False, at - 1
    for line in LINE.finditer(raw, at):
        start, end = line.start(), line.end() - 1
        if closing := CLOSING.match(raw, start):
            # A line that closes nothing may open the next block.
            return (closing.end() if has_key else start - 1), has_key
        is_key = KEY.match(raw, start) is not None
        if not is_key and not BESIDE.match(raw, start):
            return start - 1, False
        if not opens_message and SENTENCE_END.search(raw, max(start, end - 8), end):
            return start - 1, False
        has_key |= is_key
        if raw[end] == 0:
            break
    return end, False
