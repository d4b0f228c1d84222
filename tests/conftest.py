"""A skip whose reason is not in expected/skips.txt fails the session, in CI or with --strict-skips.

A test that skips where it was meant to run looks like one that passed.
"""

import os
import re
import sys
from pathlib import Path

import hypothesis
import pytest

# Examples take longer on a busy machine, and no test is about time.
hypothesis.settings.register_profile(
    "handbook", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("handbook")

ALLOWED = Path(__file__).parent / "expected" / "skips.txt"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips",
        action="store_true",
        default=os.environ.get("CI", "").lower() in ("1", "true"),
        help=f"fail on a skip whose reason is not in {ALLOWED.name} (the default if CI=true)",
    )


def allowed_reasons(text: str) -> list[re.Pattern[str]]:
    """One pattern a line, in which * stands for anything; # begins a comment."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [re.compile(re.escape(line).replace(r"\*", ".*"), re.S) for line in lines if line]


def unlisted_skips(reports: list) -> list[str]:
    """``file:line: reason`` of every skip that is in no line of the list."""
    allowed = allowed_reasons(ALLOWED.read_text(encoding="utf-8"))
    unlisted = []
    for report in reports:
        path, line, reason = report.longrepr
        reason = reason.removeprefix("Skipped: ")
        if not any(pattern.fullmatch(reason) for pattern in allowed):
            unlisted.append(f"{os.path.relpath(path)}:{line}: {reason}")
    return unlisted


def _unlisted(config: pytest.Config) -> list[str]:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or not config.getoption("strict_skips"):
        return []
    return unlisted_skips(terminal.stats.get("skipped", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    # With several processes the skips are known to the one that reports; the others list none.
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and _unlisted(
        session.config
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    laws = sys.modules.get("laws")
    if laws is not None and laws.LONG:
        total = f"{laws.CALLS.total():,} calls of {len(laws.CALLS)} laws were generated"
        terminalreporter.section(total)
        for name, calls in sorted(laws.CALLS.items()):
            terminalreporter.write_line(f"{calls:>9,} {name}")
    if unlisted := _unlisted(config):
        terminalreporter.section("skips that are not in tests/expected/skips.txt", red=True)
        for line in unlisted:
            terminalreporter.write_line(line, red=True)


@pytest.fixture(scope="module")
def world():
    """The miniature's own server of answers and ratings, on a port of its own."""
    from zephyr_utils.feedback import Endpoint
    from zephyr_utils.miniature.serve import served

    with served() as url:
        yield Endpoint(url)
