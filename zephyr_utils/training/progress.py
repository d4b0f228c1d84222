"""How far long work is: a bar in a terminal, a line that rewrites itself in a notebook, plain lines
in a pipe.
"""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY = 30.0  # seconds between two lines in a pipe


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    kernel = sys.modules.get("ipykernel.kernelapp")  # imported is not yet running
    return kernel is not None and kernel.IPKernelApp.initialized()


def quiet() -> bool:
    """Whether the caller wants no progress: ``TQDM_DISABLE`` in the environment, as for tqdm."""
    return bool(os.environ.get("TQDM_DISABLE"))


def _plain(line: str) -> dict[str, str]:
    """What a notebook shows as it is: of a bare string it would show the quotes."""
    return {"text/plain": line}


def say(sentence: str) -> None:
    """A sentence on stderr, at once; of several processes the first says it."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=sys.stderr, flush=True)


class ProgressReport:
    """The progress of work whose parts can be counted.

    In a pipe there is a line at the start, and then one in `LINE_EVERY` seconds at most. The time
    left is measured without the first part, which takes longer: kernels are chosen, memory is
    taken.

    Args:
        what: the words before the figures, such as "dDPO".
        total: how many parts there are.
        unit: what a part is, in the plural.
        done: parts that an earlier run has done.
        silent: show nothing: of several processes one reports.
    """

    def __init__(
        self, what: str, total: int, unit: str, done: int = 0, silent: bool = False
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.first = self.done = done
        self.silent, self.warm = silent, False
        self.bar: Progress | None = None
        self.handle: Any = None

    def start(self) -> None:
        """Show that the work begins; of a single part there is nothing to show."""
        self.started = self.measured_from = self.last_line = time.monotonic()
        if self.silent or self.total - self.done < 2:
            return
        if sys.stderr.isatty():
            self._start_bar()
        elif in_notebook():
            from IPython.display import display

            self.handle = display(_plain(f"{self.what}: starting"), raw=True, display_id=True)
        elif not quiet():
            say(f"{self.what}: {self.total - self.done:,} {self.unit} begin")

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` parts are done, earlier ones included; `note` is beside it."""
        now = time.monotonic()
        if not self.warm and done > self.first:
            self.measured_from, self.first, self.warm = now, done, True
        self.done = done
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=done, note=note)
        elif self.handle:
            self.handle.update(_plain(self._line(note)), raw=True)
        elif done < self.total and now - self.last_line >= LINE_EVERY and self._speaks():
            self.last_line = now
            say(self._line(note))

    def _speaks(self) -> bool:
        return not (self.silent or quiet() or in_notebook())

    def finish(self) -> None:
        """Take the bar away; in a notebook say how long it took."""
        if self.bar:
            self.bar.stop()
            self.bar = None
        elif self.handle:
            seconds = time.monotonic() - self.started
            line = f"{self.what}: {self.done:,} {self.unit} in {seconds:.0f} s"
            self.handle.update(_plain(line), raw=True)

    def time_left(self) -> str:
        """The time left in words; empty before there is anything to measure by."""
        parts = self.done - self.first
        if parts < 1:
            return ""
        seconds = (time.monotonic() - self.measured_from) / parts * max(self.total - self.done, 0)
        if seconds > 5400:
            return f"{seconds / 3600:.1f} hours left"
        return f"{seconds / 60:.0f} minutes left" if seconds > 90 else f"{seconds:.0f} s left"

    def _line(self, note: str) -> str:
        figures = [f"{self.done:,} of {self.total:,} {self.unit}", note, self.time_left()]
        return f"{self.what}: {', '.join(figure for figure in figures if figure)}"

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar.add_task(self.what, total=self.total, completed=self.done, note="")
        self.bar.start()
