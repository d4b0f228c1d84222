"""The website that `make run` or `make book` built, as a reader's browser sees it.

Not part of `make test`, which comes before anything is built: `make check` runs these. With
ZEPHYR_SITE=required a missing or outdated website, or a missing browser, is a failure and no skip.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import build_book  # noqa: E402
from browsing import chromium, recording_tab, served  # noqa: E402

from zephyr_utils.files import read_json  # noqa: E402

TARGET = ROOT / "build" / "book"
PAGES = TARGET / "_build" / "html"


def why_not() -> str:
    """Why there is no website to look at; empty where there is one."""
    made_from = read_json(TARGET / build_book.STAMP)
    if not made_from:
        return "there is no website: make run, or make book"
    now = build_book.stamp(ROOT / "book", ROOT / "notebooks")
    if changed := sorted(
        name for name in now.keys() | made_from.keys() if now.get(name) != made_from.get(name)
    ):
        count = f"{len(changed)} such files"
        return f"the website is older than {changed[0]} ({count}): make run, or make book"
    return ""


@pytest.fixture(scope="session", autouse=True)
def website():
    """The folder of the pages."""
    if reason := why_not():
        _cannot_look(reason)
    return PAGES


def _cannot_look(reason: str) -> NoReturn:
    if os.environ.get("ZEPHYR_SITE") == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_generate_tests(metafunc):
    """One test a page; `page` is its path without the ending."""
    if "page" in metafunc.fixturenames:
        paths = (path.relative_to(PAGES) for path in PAGES.rglob("*.html"))
        names = sorted(
            str(path.with_suffix("")) for path in paths if path.parts[0] != "_static"
        )  # those are not pages
        metafunc.parametrize("page", names or ["index"])


@contextlib.contextmanager
def browser_or_failure() -> Iterator:
    """A running browser; where there is none, as `_cannot_look` has it."""
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(chromium())
        except pytest.skip.Exception as missing:
            _cannot_look(str(missing))
        yield opened


@pytest.fixture(scope="session")
def browser(website):
    with browser_or_failure() as opened:
        yield opened


@pytest.fixture(scope="session")
def address(website):
    with served(website) as found:
        yield found


@pytest.fixture
def tab(browser, address):
    with recording_tab(browser, address) as opened:
        yield opened
