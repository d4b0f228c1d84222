"""Files that are something else than their name says, known by their first bytes.

Read as what they are called, they would be blamed for broken lines or for not being UTF-8.
"""

import re
from pathlib import Path
from typing import NamedTuple

from zephyr_utils.errors import HandbookError

BEGINNING = 1024  # bytes that are enough to tell


class _Kind(NamedTuple):
    """What a file is, as its first bytes say."""

    mark: re.Pattern[bytes]
    what: str
    remedy: str


# The mark of UTF-32 begins with that of UTF-16, so it comes first.
_KINDS = (
    _Kind(
        re.compile(rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff"),
        "the file is written in UTF-32",
        "save it as UTF-8",
    ),
    _Kind(
        re.compile(rb"\xff\xfe|\xfe\xff|[^\x00]\x00[^\x00]\x00|\x00[^\x00]\x00[^\x00]", re.DOTALL),
        "the file is written in UTF-16, as PowerShell and some spreadsheets do",
        "save it as UTF-8 (PowerShell: Out-File -Encoding utf8)",
    ),
    _Kind(
        re.compile(rb"\x1f\x8b"),
        "the file is compressed with gzip, and its name does not end in .gz",
        "add .gz to its name, or unpack it",
    ),
    _Kind(
        re.compile(rb"\x28\xb5\x2f\xfd|BZh[1-9]1AY|\xfd7zXZ"),
        "the file is compressed with Zstandard, bzip2 or xz",
        "unpack it first",
    ),
    _Kind(
        re.compile(rb"PK\x03\x04"),
        "the file is a zip archive, as Excel's workbooks are",
        "unpack it, or save the sheet as CSV in UTF-8",
    ),
    _Kind(
        re.compile(rb"PAR1[^\x20-\x7e]"),
        "the file is a Parquet file, and its name does not end in .parquet",
        "rename it",
    ),
    _Kind(
        re.compile(rb"ARROW1[^\x20-\x7e]"),
        "the file is an Arrow file, and its name does not end in .arrow",
        "rename it",
    ),
    _Kind(
        re.compile(rb"version https://git-lfs"),
        "the file is a Git LFS pointer: the data themselves were not fetched",
        "fetch them: git lfs pull, or download the file itself",
    ),
    _Kind(
        re.compile(rb"\s*+<(?:!doctype html|html)", re.IGNORECASE),
        "the file is a web page",
        "download the file itself (on the Hub its address has /resolve/ in place of /blob/)",
    ),
)


def check_kind(path: Path, beginning: bytes) -> None:
    """Refuse a text file whose first bytes are those of another kind of file.

    Args:
        path: the file.
        beginning: its first bytes, unpacked where its name says that it is packed.

    Raises:
        HandbookError: it is in UTF-16 or UTF-32, packed, a table's or an archive's binary file, a
            Git LFS pointer, or a web page.
    """
    for kind in _KINDS:
        if kind.mark.match(beginning):
            raise HandbookError(kind.what, where=str(path), remedy=kind.remedy)


def check_table_kind(path: Path, magic: bytes) -> None:
    """Refuse a binary table that is text, packed or another table, by what it is.

    Args:
        path: the file.
        magic: what a file of its kind begins with.

    Raises:
        HandbookError: as `check_kind`; a file that is merely damaged passes.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        beginning = stream.read(BEGINNING)
    if not beginning.startswith(magic):
        check_kind(path, beginning)
