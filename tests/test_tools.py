"""The scripts in tools/ that workflows call: Colab's list, the changelog gate, failure reports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import changelog
import colab
import pytest
import report
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
COLAB_LIST = ROOT / "tests" / "specimens" / "colab-2026-08.txt"
BEFORE = "# Changes\n\n## Unreleased\n\n- One thing.\n\n## 0.1\n\n- An old thing.\n"


def test_on_colab_only_what_trl_needs_is_upgraded():
    present = colab.versions(COLAB_LIST.read_text(encoding="utf-8"))
    assert present["torch"] == "2.11.0+cu128" and "google-colab" not in present
    assert set(colab.upgrades(colab.requirements(), present)) == set(colab.UPGRADED_ON_COLAB)


def test_a_floor_above_what_colab_has_is_named_and_fails(monkeypatch, capsys):
    wanted = [Requirement("peft>=0.21"), Requirement("numpy>=2.0"), Requirement("unknown>=1")]
    monkeypatch.setattr(colab, "requirements", lambda: wanted)
    monkeypatch.setattr(sys, "argv", ["colab.py", str(COLAB_LIST)])
    with pytest.raises(SystemExit, match="peft"):
        colab.main()
    assert capsys.readouterr().out == "peft: 0.20.0, needs >=0.21\n"


def test_a_list_that_is_not_colabs_is_refused(monkeypatch, tmp_path):
    (tmp_path / "list.txt").write_text("<html>Not found</html>\n")
    monkeypatch.setattr(sys, "argv", ["colab.py", str(tmp_path / "list.txt")])
    with pytest.raises(SystemExit, match="not Colab's list"):
        colab.main()


def test_a_change_readers_notice_needs_a_line_under_unreleased():
    changed = ["zephyr_utils/chat/template.py", "tests/test_chat.py"]
    assert "zephyr_utils/chat/template.py changed (1 such" in changelog.complaint(
        changed, BEFORE, BEFORE
    )
    elsewhere = BEFORE.replace("- An old thing.", "- An old thing.\n- A line in the wrong place.")
    assert changelog.complaint(changed, BEFORE, elsewhere)
    mentioned = BEFORE.replace("- One thing.", "- One thing.\n- Another.")
    assert changelog.complaint(changed, BEFORE, mentioned) == ""
    assert changelog.complaint(["tests/test_chat.py", "README.md"], BEFORE, BEFORE) == ""


def test_the_changelog_is_compared_with_where_the_branch_began(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    def gate():
        script = ROOT / "tools" / "changelog.py"
        return subprocess.run(
            [sys.executable, script, "main"], cwd=tmp_path, capture_output=True, text=True
        )

    git("init", "-b", "main")
    (tmp_path / "CHANGELOG.md").write_text(BEFORE)
    (tmp_path / "book").mkdir()
    git("add", "."), git("commit", "-m", "Begin"), git("switch", "-c", "branch")
    assert gate().returncode == 0
    (tmp_path / "book" / "index.md").write_text("# New\n")
    git("add", "."), git("commit", "-m", "Change the book")
    assert gate().returncode == 1 and "book/index.md changed" in gate().stderr
    (tmp_path / "CHANGELOG.md").write_text(BEFORE.replace("- One", "- A book.\n- One"))
    git("commit", "-am", "Say so")
    assert gate().returncode == 0
    # What others add to main meanwhile is not a line of this branch.
    (
        git("switch", "main"),
        (tmp_path / "CHANGELOG.md").write_text(BEFORE.replace("- One", "- X\n- One")),
    )
    git("commit", "-am", "Another change")
    assert gate().returncode == 0


def run_report(tmp_path, monkeypatch, open_issues):
    """The calls of `gh` that a report makes, by a `gh` that only notes them."""
    calls = tmp_path / "calls"
    gh = tmp_path / "gh"
    gh.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(calls)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"if sys.argv[2] == 'list': print({json.dumps(open_issues)!r})\n"
    )
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TITLE", "The weekly checks fail")
    monkeypatch.setenv("RUN", "https://example.org/run/1")
    results = {"floors": "failure", "links": "success", "newest": "cancelled", "colab": "skipped"}
    needs = {job: {"result": result} for job, result in results.items()}
    monkeypatch.setenv("NEEDS", json.dumps(needs))
    report.main()
    return [json.loads(line) for line in calls.read_text().splitlines()]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for gh is a script")
@pytest.mark.parametrize(
    ("open_issues", "expected"),
    [
        ([{"number": 7, "title": "Another"}], ["issue", "create", "--title"]),
        ([{"number": 8, "title": "The weekly checks fail"}], ["issue", "comment", "8"]),
    ],
)
def test_a_failure_opens_one_issue_and_adds_to_it(tmp_path, monkeypatch, open_issues, expected):
    listed, made = run_report(tmp_path, monkeypatch, open_issues)
    assert listed[:2] == ["issue", "list"] and made[:3] == expected
    assert made[-1] == "Failed: floors, newest. The run: https://example.org/run/1"
