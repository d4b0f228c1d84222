"""A chapter in a live JupyterLab: opened, run from top to bottom, and its explorers used as a
reader does.
"""

import shutil
import time
from pathlib import Path

import nbformat
import pytest
from browsing import moves, recording_tab
from live_lab import Lab, jupyter_lab

from zephyr_utils.pipeline.artefacts import runs_folder

ROOT = Path(__file__).resolve().parents[2]
# three explorers: of the package's formula, of the trained model's pairs, and one that gets the
# models' weights from the kernel
CHAPTER = "05_ddpo"
EXPLORERS = 3
# milliseconds: two busy cores, and a training if the last run's cannot be reused
SLOW = 10 * 60_000
# Every code cell has a number, or one has an error: then the cells after it will not run. Where the
# code is hidden, a placeholder is in the number's place.
FINISHED = """
(cells) => {
  const hidden = document.querySelectorAll(".jp-CodeCell .jp-InputPlaceholder").length;
  const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")];
  const numbered = prompts.filter((prompt) => /\\[\\d+\\]:/.test(prompt.textContent));
  const error = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
  return numbered.length + hidden >= cells || error !== null;
}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A copy of what the last run made, without the ablations: they are most of it, and this
    chapter wants none.
    """
    copy = tmp_path_factory.mktemp("live") / "runs"
    shutil.copytree(
        runs_folder() / "miniature",
        copy / "miniature",
        ignore=shutil.ignore_patterns("08_ablations", "notebooks", ".*"),
    )
    return copy


def until_finished(tab, lab: Lab, cells: int) -> None:
    """Wait for the last cell; if it does not come, say what the page shows instead."""
    until = time.monotonic() + SLOW / 1000
    while not tab.evaluate(FINISHED, cells):
        if time.monotonic() > until:
            shown = tab.locator(".jp-InputPrompt, .jp-Dialog-content").all_inner_texts()
            pytest.fail(f"{cells} cells, kernel {lab.kernels()}: {shown}\n{lab.ending()}")
        tab.wait_for_timeout(1000)


@pytest.mark.browser
def test_a_chapter_runs_in_jupyterlab_and_its_explorers_move_by_keyboard(browser, tmp_path, runs):
    chapter = ROOT / "notebooks" / f"{CHAPTER}.ipynb"
    cells = [cell for cell in nbformat.read(chapter, 4).cells if cell.cell_type == "code"]
    with (
        jupyter_lab(tmp_path, chapter, runs) as lab,
        recording_tab(browser, lab.address) as tab,
    ):
        tab.set_default_timeout(SLOW)
        tab.set_viewport_size({"width": 1280, "height": 900})
        tab.goto(lab.page)
        lab.wait_for_kernel()
        tab.get_by_role("menuitem", name="Run", exact=True).click()
        tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        until_finished(tab, lab, len(cells))
        tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached")
        errors = tab.locator('[data-mime-type="application/vnd.jupyter.error"]')
        assert errors.all_inner_texts() == []

        explorers = tab.locator(".jp-OutputArea-output:has([class^=zx-])")
        assert explorers.count() == EXPLORERS
        for number in range(EXPLORERS):
            explorers.nth(number).scroll_into_view_if_needed()
            assert moves(explorers.nth(number)), (
                f"the explorer {number} shows the same whatever key is pressed"
            )
        elsewhere = [
            line
            for line in tab.complaints
            if line.startswith(("http", "ws")) and lab.address not in line
        ]
        assert elsewhere == []
