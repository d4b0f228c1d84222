"""What would pass for green although it was not tested: skips, and pages without a browser."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ALLOWED, allowed_reasons

TESTS = Path(__file__).parent


def outcome_of(folder: Path, reason: str, *options: str, ci: str = "") -> tuple[int, str]:
    """How pytest ends, and what it prints, over one test that is skipped and one that passes."""
    folder.joinpath("test_two.py").write_text(
        f"import pytest\n"
        f"def test_skipped():\n    pytest.skip({reason!r})\n"
        f"def test_passed():\n    pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-c", "none.ini", "-rs", *options]
    (folder / "none.ini").write_text("[pytest]\n")
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(TESTS), "PATH": "", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_skip_that_is_not_listed_fails_the_session_in_ci(tmp_path):
    code, said = outcome_of(tmp_path, "nobody listed this", ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "test_two.py:3: nobody listed this" in said


def test_a_skip_that_is_not_listed_fails_the_session_also_from_another_process(tmp_path):
    code, said = outcome_of(tmp_path, "nobody listed this", "--strict-skips", "-n", "1")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "nobody listed this" in said.partition("skips that are not in")[2]


def test_a_module_skipped_as_a_whole_counts(tmp_path):
    (tmp_path / "test_whole.py").write_text(
        "import pytest\npytest.importorskip('no_such_module')\n"
    )
    code, said = outcome_of(tmp_path, "DeepSpeed is not installed", ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "could not import 'no_such_module'" in said.partition("skips that are not in")[2]


def test_a_listed_skip_passes_and_outside_ci_any_other_does_too(tmp_path):
    assert outcome_of(tmp_path, "DeepSpeed is not installed", ci="true")[0] == 0
    code, said = outcome_of(tmp_path, "nobody listed this", ci="")
    assert code == 0
    assert "SKIPPED [1] test_two.py:3: nobody listed this" in said


def test_a_star_stands_for_anything_and_nothing_else_does():
    (pattern,) = allowed_reasons("# a comment\n\nthe records '*' are [here]  # why\n")
    assert pattern.fullmatch("the records 'a b' are [here]")
    assert not pattern.fullmatch("the records 'a b' are h")
    assert not pattern.fullmatch("now the records '' are [here]")


def test_no_line_of_the_list_allows_every_reason():
    for pattern in allowed_reasons(ALLOWED.read_text(encoding="utf-8")):
        assert not pattern.fullmatch("no Chromium on this machine: apt-get install chromium")


def test_the_check_of_the_website_fails_without_a_browser(monkeypatch):
    spec = importlib.util.spec_from_file_location("site_conftest", TESTS / "site" / "conftest.py")
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("ZEPHYR_SITE", "required")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"), site.browser_or_failure():
        pass
    monkeypatch.delenv("ZEPHYR_SITE")
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), site.browser_or_failure():
        pass
