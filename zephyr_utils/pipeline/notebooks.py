"""Chapters run through papermill, several at once if asked, and the table of what came out."""

import ast
import contextlib
import datetime
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.iorw import local_file_io_cwd
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.pipeline.artefacts import (
    MANIFEST,
    METRICS,
    SIDE_BY_SIDE,
    fingerprint,
    read_metrics,
)
from zephyr_utils.pipeline.chapter_report import (
    Outside,
    forget,
    outside_of,
    print_table,
    read_ranges,
    remember,
)
from zephyr_utils.pipeline.source import notebook_digests
from zephyr_utils.scales import DEFAULT_SCALE

QUIET = {  # progress bars would be stored in the executed notebooks, one output a step
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
OUTPUT_TIMEOUT = 300  # seconds; nbclient's 4 are short for a laptop that wakes up, or is busy
CHAPTER_MEMORY = 2 * 2**30  # bytes; the largest chapter of the miniature holds 1.8 GB


class ChapterFailed(HandbookError):
    """A chapter stopped with an error; its executed copy, with the traceback, is kept."""


def default_jobs(scale: str) -> int:
    """How many chapters to run at once: at the miniature scale one for each core that has
    `CHAPTER_MEMORY` free, otherwise one, since a training fills its device.
    """
    if scale != DEFAULT_SCALE:
        return 1
    return max(1, min(usable_cores(), psutil.virtual_memory().available // CHAPTER_MEMORY))


def run_chapters(
    chapters: list[Path],
    parameters: dict[str, Any],
    output_folder: Path,
    *,
    expected: Path | None = None,
    console: Console | None = None,
    jobs: int = 1,
) -> list[Outside]:
    """Execute chapters, print one table and return the metrics outside their expected ranges.

    Args:
        chapters: committed notebooks, ``notebooks/NN_topic.ipynb``.
        parameters: values for the cell tagged ``parameters``. Only those that differ from what is
            written there are injected. Paths have to be absolute: a chapter runs in the folder of
            the notebooks.
        output_folder: ``runs/<scale>``. A chapter's artefacts and ``metrics.json`` are in
            ``<NN_topic>/``, the executed copies in ``notebooks/``, what is known of the last run of
            each chapter in ``report.json``.
        expected: YAML of ranges, chapter -> metric -> [low, high]; the first metric is the
            headline.
        jobs: how many run at once, begun in order. One that needs an artefact that another is
            making waits for it, and its seconds count that.

    Raises:
        HandbookError: a chapter is missing, a parameter is unknown, the file of ranges is wrong.
        ChapterFailed: a chapter stopped with an error; those at work were let finish, and no other
            was started.
    """
    console = console or Console()
    output_folder = Path(output_folder).resolve()
    ranges = read_ranges(expected) if expected else {}
    # All of them, before the first is run.
    changes = {chapter: _changed_parameters(chapter, parameters) for chapter in chapters}
    entries: dict[str, dict[str, Any]] = {}
    failures: list[ChapterFailed] = []
    stop, report = threading.Event(), threading.Lock()

    with _kernel_environment(output_folder.parent, jobs), _progress(console) as progress:

        def run_one(chapter: Path) -> None:
            if stop.is_set():
                return
            name = chapter.stem
            with report:
                forget(output_folder, name)
            try:
                entry = _run_one(chapter, changes[chapter], output_folder, progress, console)
            except BaseException:
                stop.set()
                raise
            bounds = ranges.get(name, {})
            entry["ranges"] = {metric: list(bounds[metric]) for metric in bounds}
            entry["at_once"] = min(jobs, len(chapters))
            with report:
                entries[name] = entry
                remember(output_folder, name, entry)

        # Papermill keeps the working directory of the whole process: once, around all threads.
        with local_file_io_cwd(), ThreadPoolExecutor(jobs) as pool:
            running = [pool.submit(run_one, chapter) for chapter in chapters]
            try:
                for done in as_completed(running):
                    if isinstance(error := done.exception(), ChapterFailed):
                        failures.append(error)
                    elif error:
                        raise error
            except BaseException:  # Ctrl-C, above all: the chapters at work would go on
                stop.set()
                _stop_kernels()
                while wait(running, timeout=0.5).not_done:
                    _stop_kernels()  # one that was just being started
                raise
    # what was finished is worth its table, also when another chapter failed
    entries = dict(sorted(entries.items()))
    if entries:
        print_table(entries, console)
    for failure in failures[1:]:
        console.print(str(failure), highlight=False, markup=False)
    if failures:
        raise failures[0]
    outside = [metric for name, entry in entries.items() for metric in outside_of(name, entry)]
    for metric in outside:
        console.print(Text("outside", style="bold"), end=" ")
        console.print(str(metric), highlight=False, markup=False)
    return outside


def _stop_kernels() -> None:
    """Kill the notebooks' processes, which have sessions of their own and hear no Ctrl-C."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has ended by itself
            if "ipykernel_launcher" in child.cmdline():
                child.kill()


def _changed_parameters(chapter: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Those that differ from the notebook's own: a run as written shows no injected cell."""
    if not chapter.is_file():
        there = (
            ", ".join(path.stem for path in sorted(chapter.parent.glob("[0-9]*.ipynb"))) or "none"
        )
        raise HandbookError(
            "there is no such chapter", where=str(chapter), remedy=f"choose from: {there}"
        )
    try:
        known = {
            name: facts["default"]
            for name, facts in papermill.inspect_notebook(_literal(chapter)).items()
        }
    except ValueError as error:
        what = "this is not a whole notebook"
        raise HandbookError(
            what, where=str(chapter), remedy="write it again from its source: make sync"
        ) from error
    if unknown := sorted(set(parameters) - set(known)):
        raise HandbookError(
            f"unknown parameter {', '.join(unknown)}",
            where=chapter.name,
            remedy=f"this chapter takes {', '.join(known) or 'no parameters'}",
        )
    return {
        name: value for name, value in parameters.items() if ast.literal_eval(known[name]) != value
    }


@contextlib.contextmanager
def _kernel_environment(runs: Path, jobs: int) -> Iterator[None]:
    """The variables that kernels inherit; what the reader has set stays, save the runs folder."""
    # Without a fixed number, libraries each take all cores of the machine, more than a container
    # gives.
    settings = {**QUIET, "OMP_NUM_THREADS": str(max(1, usable_cores() // jobs))}
    settings = {name: os.environ.get(name, value) for name, value in settings.items()} | {
        "ZEPHYR_RUNS": str(runs)
    }
    if jobs > 1:
        settings[SIDE_BY_SIDE] = "1"
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


class _CountingEngine(NBClientEngine):
    """Papermill's own engine, which also says when a cell is done."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        on_cell: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        complete = nb_man.cell_complete

        def complete_and_tell(cell: Any, **details: Any) -> None:
            complete(cell, **details)
            on_cell()

        nb_man.cell_complete = complete_and_tell
        super().execute_managed_notebook(nb_man, kernel_name, **options)


papermill_engines.register("counting", _CountingEngine)


def _run_one(
    chapter: Path,
    changes: dict[str, Any],
    output_folder: Path,
    progress: Progress,
    console: Console,
) -> dict[str, Any]:
    """Execute one chapter and return its entry for the report."""
    executed = output_folder / "notebooks" / chapter.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    # so that it can only be this run's
    (output_folder / chapter.stem / METRICS).unlink(missing_ok=True)
    # one cell is injected
    cells = len(papermill.iorw.load_notebook_node(str(chapter)).cells) + bool(changes)
    task = progress.add_task(chapter.stem, total=cells)
    if not console.is_terminal:
        console.print(f"{chapter.stem} ...", highlight=False)
    begun, started = time.time(), time.perf_counter()
    try:
        papermill.execute_notebook(
            _literal(chapter.resolve()), _literal(executed), changes,
            # `cwd` would be the whole process's
            resources={"metadata": {"path": str(chapter.resolve().parent)}},
            engine_name="counting", kernel_name="python3", language="python", progress_bar=False,
            on_cell=lambda: progress.advance(task),
            # else each kernel warns about 127.0.0.1
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            iopub_timeout=OUTPUT_TIMEOUT,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        lines = f"{error.ename}: {error.evalue}".strip().splitlines()
        what = f"the cell In [{error.exec_count}] stopped with\n" + "\n".join(
            f"    {line}" for line in lines[-6:]
        )
        raise ChapterFailed(what, where=chapter.stem, remedy=_remedy(executed)) from error
    except DeadKernelError as error:
        what = "the notebook's process died, most often because memory ran out"
        raise ChapterFailed(what, where=chapter.stem, remedy=_remedy(executed)) from error
    except CellTimeoutError as error:
        raise ChapterFailed(
            f"a cell had ended and its output did not arrive within {OUTPUT_TIMEOUT} s: the "
            "machine is too busy, or was asleep",
            where=chapter.stem,
            remedy="start the same command again; it goes on from here",
        ) from error
    seconds = time.perf_counter() - started
    reused = _seconds_reused(output_folder / chapter.stem, begun)
    if not (output_folder / chapter.stem / METRICS).is_file():
        remedy = "let its last cell call artefacts.write_metrics(folder, metrics)"
        raise ChapterFailed(
            "the chapter ran to its end but wrote no metrics.json",
            where=chapter.stem,
            remedy=remedy,
        )
    metrics = read_metrics(output_folder / chapter.stem)
    if not console.is_terminal:
        console.print(
            f"{chapter.stem}: {seconds:.1f} s, {metrics['peak_memory_mb']:.0f} MB", highlight=False
        )
    return {
        "seconds": round(seconds, 2),
        "seconds_reused": round(reused, 2),
        "metrics": metrics,
        "parameters": changes,
        "source": fingerprint(chapter),
        "code": chapter_code(chapter),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": environment_stamp(),
    }


def _literal(path: Path) -> str:
    """A path as papermill takes it: braces doubled, for it fills them in as a format string."""
    return str(path).replace("{", "{{").replace("}", "}}")


def chapter_code(chapter: Path) -> dict[str, str]:
    """Digests of the package's modules that a chapter rests on (`source.notebook_digests`)."""
    cells = nbformat.read(chapter, as_version=4).cells
    return notebook_digests(cell.source for cell in cells if cell.cell_type == "code")


def _seconds_reused(folder: Path, begun: float) -> float:
    """What the chapter's artefacts took that were there already: without it a second run would look
    like the cost.
    """
    manifests = [path for path in folder.rglob(MANIFEST) if path.stat().st_mtime < begun]
    return sum(read_json(path).get("seconds", 0.0) for path in manifests)


def _remedy(executed: Path) -> str:
    return (
        f"read the whole traceback in {executed}; once it is fixed, the same command reuses what "
        "was finished and goes on"
    )
