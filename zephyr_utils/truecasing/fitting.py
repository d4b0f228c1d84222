"""A truecaser fitted on files: made once, kept beside the results, and taken up again after a
kill.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write, write_json
from zephyr_utils.truecasing.dialogue import MessageFinder
from zephyr_utils.truecasing.formats import file_messages
from zephyr_utils.truecasing.lines import BadLine, likely_cause
from zephyr_utils.truecasing.model import FORMAT, Truecaser

FIT_BYTES = 24 << 20  # characters of text to fit on; more gains little and costs time
MODEL, NOTE, CHECKPOINT = "truecaser.npz", "truecaser.json", "truecaser.unfinished.npz"


def fitted_truecaser(
    files: Sequence[Path], output: Path, column: str | None, roles: Sequence[str]
) -> Truecaser:
    """A truecaser fitted on these files, or the one that an earlier call fitted on the same texts.

    It is written before anything is repaired with it, and so is the state of the fit after each
    pass over the texts, so that a killed fit goes on where it was.

    Args:
        files: what to fit on: as much of each, 24 MB in all.
        output: the folder that keeps the truecaser.
        column, roles: which messages to take, as in ``truecase_files``.

    Raises:
        HandbookError: there are no messages in the files, or none that is well cased.
    """
    texts = _sample(files, column, roles)
    note = {"format": FORMAT, "texts": _digest(texts)}
    try:
        if json.loads((output / NOTE).read_bytes()) == note:
            return Truecaser.load(output / MODEL)
    except (OSError, ValueError, HandbookError):
        pass  # none yet, of other texts, or damaged: fit again
    truecaser = Truecaser.fit(texts, checkpoint=output / CHECKPOINT)
    with atomic_write(output / MODEL) as unfinished:
        truecaser.save(unfinished)
    write_json(output / NOTE, note)
    (output / CHECKPOINT).unlink(missing_ok=True)
    return truecaser


def _sample(files: Sequence[Path], column: str | None, roles: Sequence[str]) -> list[str]:
    finder = MessageFinder(roles, column)
    texts: list[str] = []
    refused: list[BadLine] = []
    for path in files:
        held = 0
        for text in file_messages(path, finder, refused):
            texts.append(text)
            held += len(text)
            if held > FIT_BYTES // len(files):
                break
    if not texts:
        raise _nothing_to_fit_on(files, finder, refused)
    return texts


def _nothing_to_fit_on(
    files: Sequence[Path], finder: MessageFinder, refused: list[BadLine]
) -> HandbookError:
    """The error for files in which no message was found, with the likely cause."""
    more = f" and {len(files) - 1} other files" if len(files) > 1 else ""
    unknown = ", ".join(repr(role) for role, _ in finder.unknown_roles.most_common(5))
    if refused:
        cause = likely_cause(refused[0].reason, refused[0].detail, refused[0].line)
        what = f": no message was found; row {refused[0].row} could not be read"
    elif unknown:
        cause, what = f"rename the roles ({unknown} are not known)", ": no answer was found"
    else:
        cause, what = "give files with rows of messages; they may not have been written whole", ""
    return HandbookError(
        f"there is no text to fit on{what}", where=f"{files[0]}{more}", remedy=cause
    )


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
