"""The key of an artefact holds the code that makes it: what it rests on, no more and no less."""

import json
import os
import shutil
from pathlib import Path

import pytest
import warm

import zephyr_utils
from zephyr_utils.data.records import save_records
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline.source import code_digests, notebook_digests

PACKAGE = Path(zephyr_utils.__file__).parent


@pytest.fixture
def package(tmp_path):
    """A small package: `a` rests on `b` through the surface of `inner`, and on nothing else."""
    folder = tmp_path / "toy"
    files = {
        "__init__.py": "",
        "a.py": "from toy.inner import b_name\n\nVALUE = b_name\n",
        "inner/__init__.py": ("from toy.inner.b import b_name\nfrom toy.inner.c import c_name\n"),
        "inner/b.py": '"""A docstring."""\n\nb_name = 1\n',
        "inner/c.py": "c_name = 2\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))


def test_a_name_from_a_packages_surface_leads_to_the_module_that_defines_it(package):
    assert list(code_digests(["toy.a"], package)) == ["a.py", "inner/b.py"]


@pytest.mark.parametrize(
    ("code", "reached"),
    [
        ("from toy import inner\ninner.c_name\n", "inner/c.py"),
        ("from toy.inner import c\nc.c_name\n", "inner/c.py"),
        ("def later():\n    from toy.inner.c import c_name\n", "inner/c.py"),
        ("import toy.inner.b\n", "inner/b.py"),
        ("try:\n    pass\nfinally:\n    from toy.inner.b import b_name as other\n", "inner/b.py"),
    ],
)
def test_an_import_is_found_however_it_is_written(package, code, reached):
    (package / "a.py").write_text(code)
    assert list(code_digests(["toy.a"], package)) == ["a.py", reached]


def test_an_import_for_type_checkers_alone_does_not_count(package):
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.inner.c import c_name\n"
    )
    assert list(code_digests(["toy.a"], package)) == ["a.py"]


def test_comments_docstrings_and_layout_change_no_digest_and_a_constant_does(package):
    before = code_digests(["toy.a"], package)
    rewrite(package / "inner" / "b.py", '"""A docstring."""\n', '"""Another."""\n# and a comment\n')
    assert code_digests(["toy.a"], package) == before
    rewrite(package / "inner" / "b.py", "b_name = 1", "b_name = (1)")
    assert code_digests(["toy.a"], package) == before
    rewrite(package / "inner" / "b.py", "b_name = (1)", "b_name = 3")
    after = code_digests(["toy.a"], package)
    assert after["a.py"] == before["a.py"] and after["inner/b.py"] != before["inner/b.py"]


def test_a_chapter_rests_on_what_its_cells_import(package):
    cells = ["%pip install toy\nfrom toy.inner import c_name", "!ls\nprint(c_name)"]
    assert list(notebook_digests(cells, package)) == ["inner/c.py"]


def test_a_step_rests_on_its_own_modules_and_not_on_chapters_scales_or_the_command_line():
    files = code_digests(["zephyr_utils.pipeline.steps.dsft"])
    assert {"training/stages.py", "training/rows.py", "chat/template.py"} <= set(files)
    strange = ("cli/", "exercises/", "explorers/", "evaluation/", "scales.py", "truecasing/")
    assert not [name for name in files if name.startswith(strange)]


SHORT = {"max_steps": 1, "per_device_train_batch_size": 8, "logging_steps": 1}
WALK = """
import json, sys
from zephyr_utils.pipeline.pipeline import Pipeline

pipeline = Pipeline(**json.loads(sys.argv[1]))
steps = (pipeline.truecased, pipeline.dsft, pipeline.pairs, pipeline.ddpo, pipeline.margins)
made = [manifest.folder.name for manifest in (step() for step in steps) if not manifest.reused]
print("made " + json.dumps(made))
"""


@pytest.mark.slow
def test_a_changed_constant_remakes_what_rests_on_it_and_a_changed_comment_nothing(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "zephyr_utils", ignore=ignored))
    options = {
        "dialogues": str(save_records(world.dialogues(120), tmp_path / "dialogues.jsonl")),
        "feedback": str(save_records(world.feedback(80), tmp_path / "feedback.jsonl")),
        "runs": str(tmp_path / "runs"),
        "changes": {"dsft": SHORT, "ddpo": SHORT},
    }

    def walk() -> tuple[list[str], str]:
        done = warm.run(WALK, json.dumps(options), path=tmp_path)
        [made] = [line for line in done.stdout.splitlines() if line.startswith("made ")]
        return json.loads(made.removeprefix("made ")), done.stdout

    everything = ["01_truecasing", "02_dsft", "04_preference_pairs", "05_ddpo", "06_reward_margins"]
    assert walk()[0] == everything
    rewrite(copy / "pipeline" / "steps" / "dsft.py", "# share of the dialogues", "# the share")
    assert walk()[0] == []
    rewrite(copy / "diagnostics" / "margins.py", "n: int = 2000", "n: int = 1500")
    made, said = walk()
    assert made == ["06_reward_margins"]
    assert "06_reward_margins: made again, because diagnostics/margins.py changed" in said
    rewrite(copy / "pipeline" / "steps" / "dsft.py", "HELD_OUT = 0.05", "HELD_OUT = 0.2")
    made, said = walk()
    assert made == ["02_dsft", "05_ddpo", "06_reward_margins"]
    assert "02_dsft: made again, because pipeline/steps/dsft.py changed" in said
    assert "05_ddpo: made again, because its input `start` changed" in said
