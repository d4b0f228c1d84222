"""Whole files: JSONL(.gz), Parquet and Arrow in, the same out, in constant memory, resumable file
by file.

Every file is written under a temporary name, renamed when whole, and only then gets its report; a
file with a report is not done again while neither it nor its input has changed. Work is shared out
by whole files, so any number of machines can each take a share.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write, write_json
from zephyr_utils.truecasing.dialogue import MessageFinder
from zephyr_utils.truecasing.fitting import CHECKPOINT, MODEL, NOTE, fitted_truecaser
from zephyr_utils.truecasing.formats import Rewriter, readable
from zephyr_utils.truecasing.inputs import (
    Inputs,
    describe_dataset,
    input_files,
    make_output_folder,
    remove_unfinished,
)
from zephyr_utils.truecasing.lines import likely_cause
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.reports import FileReport

__all__ = ["FileReport", "truecase_files"]


def truecase_files(
    inputs: Inputs,
    output_dir: str | Path,
    *,
    truecaser: Truecaser | None = None,
    fit_on: Inputs | None = None,
    column: str | None = None,
    roles: Sequence[str] = ("assistant",),
    shard_index: int = 0,
    num_shards: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FileReport:
    """Truecase files, each into a file of the same name and format.

    Nothing but the case of letters in messages changes: lines of JSON keep their spacing and
    escapes, tables their schema. Rows whose messages cannot be identified are set
    aside.

    Args:
        inputs: files (``.jsonl``, ``.jsonl.gz``, ``.parquet``, ``.arrow``), folders of them, or a
            folder that ``datasets`` saved, which is written as another such.
        output_dir: where the results go, with ``NAME.report.json`` beside each,
            ``NAME.set_aside.jsonl`` where rows could not be read, and the sums of the call in
            ``report-INDEX-of-NUMBER.json``.
        truecaser: a fitted one. Without it one is fitted on ``fit_on`` (24 MB of it, spread over
            its files) and kept as ``truecaser.npz`` in the output folder.
        fit_on: files to fit on; the inputs themselves if not given.
        column: the column to repair; by default the first of messages, data, conversations and text
            that a row fills.
        roles: whose messages to repair; without effect where a row holds a single text.
        shard_index, num_shards: this call takes every ``num_shards``-th file from the
            ``shard_index``-th on.
        progress: called with the input bytes done so far and in all.

    Returns:
        The counts of this call's share, those of files done earlier included.

    Raises:
        HandbookError: no such file, an unknown format, two inputs of one name, a bad shard, a
            damaged file, a folder that cannot be written to; or, when all files are done, nothing
            came out of one of them, or no row or no message was found in any.
    """
    if not 0 <= shard_index < num_shards:
        raise HandbookError(
            f"there is no shard {shard_index} of {num_shards}",
            where="truecase_files",
            remedy="count from 0",
        )
    files = input_files(inputs)
    output = Path(output_dir)
    make_output_folder(output, files)
    if truecaser is None:
        fit_files = input_files(fit_on) if fit_on is not None else files
        truecaser = fitted_truecaser(fit_files, output, column, roles)
    fingerprint = truecaser.fingerprint()
    if num_shards == 1:  # nobody else is at work in this folder
        for name in (MODEL, NOTE, CHECKPOINT, _sums_name(shard_index, num_shards)):
            remove_unfinished(output, name)
    for name, content in describe_dataset(files, output, fingerprint).items():
        with atomic_write(output / name) as unfinished:
            unfinished.write_bytes(content)
    settings = {"truecaser": fingerprint, "column": column, "roles": list(roles)}
    share = files[shard_index::num_shards]
    total, done = sum(path.stat().st_size for path in share), 0
    run = FileReport()
    empty: list[tuple[Path, FileReport]] = []
    for path in share:
        with readable(path):
            stamp = settings | {"input_sha256": _sha256(path)}
        report = _finished(output / path.name, stamp)
        if report is None:
            advance = (
                (lambda part, before=done: progress(before + part, total)) if progress else None
            )
            finder = MessageFinder(roles, column)
            report = _truecase_file(path, output / path.name, finder, truecaser, advance)
            _write_report(output / path.name, stamp, report)
            run.files.append(path.name)
        else:
            run.reused.append(path.name)
        run.add_file(report)
        if report.rows and not report.rows_written:
            empty.append((path, report))
        done += path.stat().st_size
        if progress:
            progress(done, total)
    write_json(output / _sums_name(shard_index, num_shards), run.as_dict(), indent=1)
    if num_shards == 1 and not run.rows:  # of many shares one may well be empty
        raise HandbookError(
            "there are no rows in it, so nothing was repaired",
            where=", ".join(str(path) for path in files[:3]),
            remedy="give files with rows; the files may not have been written or fetched whole",
        )
    _check_something_came_out(run, empty, output, roles)
    return run


def _truecase_file(
    path: Path,
    output: Path,
    finder: MessageFinder,
    truecaser: Truecaser,
    advance: Callable[[int], None] | None,
) -> FileReport:
    begin = time.perf_counter()
    remove_unfinished(output.parent, output.name)  # of a run that was killed at this file
    aside = _aside_path(output)
    with readable(path), atomic_write(output) as unfinished, atomic_write(aside) as left_out:
        rewriter = Rewriter(path, finder, truecaser, advance or (lambda part: None))
        rewriter.rewrite(unfinished, left_out)
    report = rewriter.report
    if not report.set_aside:
        aside.unlink()
    report.seconds = time.perf_counter() - begin
    return report


def _sums_name(shard_index: int, num_shards: int) -> str:
    return f"report-{shard_index}-of-{num_shards}.json"


def _report_path(output: Path) -> Path:
    return output.with_name(output.name + ".report.json")


def _aside_path(output: Path) -> Path:
    return output.with_name(output.name + ".set_aside.jsonl")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_report(output: Path, stamp: dict[str, Any], report: FileReport) -> None:
    counts = report.as_dict()
    stored = {
        "settings": stamp,
        "output_sha256": _sha256(output),
        "report_sha256": _digest(counts),
        "report": counts,
    }
    write_json(_report_path(output), stored, indent=1)


def _digest(report: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()


def _finished(output: Path, stamp: dict[str, Any]) -> FileReport | None:
    """The report of a file that an earlier call finished with the same settings, if neither the
    report nor the file nor its input has changed since.
    """
    try:
        stored = json.loads(_report_path(output).read_bytes())
        if stored["settings"] != stamp or stored["output_sha256"] != _sha256(output):
            return None
        if stored["report_sha256"] != _digest(stored["report"]):
            return None
        return FileReport.from_dict(stored["report"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_something_came_out(
    run: FileReport, empty: list[tuple[Path, FileReport]], output: Path, roles: Sequence[str]
) -> None:
    """Refuse to end as if all were well when nothing was done.

    Raises:
        HandbookError: every row of a file was set aside, or no message was found.
    """
    if empty:
        path, report = empty[0]
        others = f" (and {len(empty) - 1} other files)" if len(empty) > 1 else ""
        reasons = ", ".join(f"{n:,} x {reason}" for reason, n in report.set_aside.most_common())
        raise HandbookError(
            f"nothing came out{others}: all {report.rows:,} rows were set aside ({reasons})",
            where=str(path),
            remedy=_likely_cause(path, output),
        )
    if run.rows and not run.messages:
        met = ", ".join(repr(role) for role, _ in run.unknown_roles.most_common(5))
        raise HandbookError(
            f"no message of the role {' or '.join(roles)} was found in {run.rows:,} rows, so "
            f"nothing was repaired",
            where=str(output),
            remedy=f"rename the roles ({met} are not known)"
            if met
            else "check that the column of the conversations is filled and that the answers have "
            "that role",
        )


def _likely_cause(path: Path, output: Path) -> str:
    """What is probably wrong with a file of which every row was set aside."""
    try:
        with open(_aside_path(output / path.name), encoding="ascii") as aside:
            first = json.loads(aside.readline())
        reason, detail, line = first["reason"], first["detail"], first["line"]
    except (OSError, ValueError, KeyError):
        return "see the rows that were set aside"
    return likely_cause(reason, detail, line)
