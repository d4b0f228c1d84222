"""The capstone: its table has a row for each step, and its commands set the variables they use."""

import re
from pathlib import Path

import page_parts
import real_model
import scale_costs

PAGE = (Path(__file__).resolve().parents[1] / "book" / "capstone.md").read_text(encoding="utf-8")


def test_each_step_has_its_measured_minutes_or_says_that_nobody_measured_them():
    drawn = page_parts.PARTS["capstone minutes"]({}, [])
    rows = [line.strip("| ").split(" | ") for line in drawn.splitlines() if line.startswith("| ")]
    shown = {name: computing for name, computing, _ in rows[2:]}
    assert [name[0] for name in shown] == re.findall(r"^## (\d)\. ", PAGE, re.M)
    assert {shown[name] for name in ("1. Exam", "3. Trial", "8. Report")} == {"not measured"}
    steps = real_model.first_seed()["steps"]
    assert shown["4. dSFT"] == f"{steps['dsft']['seconds'] / 60:.1f}"
    exams = sum(steps[name]["seconds"] for name in scale_costs.STEPS["07_evaluation"])
    assert shown["7. Exam, three models"] == f"{exams / 60:.1f}"
    assert "estimates" in drawn and "<!-- capstone minutes -->" in PAGE


def test_a_command_uses_only_variables_that_are_set_above_it():
    given: set[str] = set()
    for line in "\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)).splitlines():
        given |= set(re.findall(r"^(\w+)=", line))
        assert set(re.findall(r"\$(\w+)", line)) <= given, line
    assert {"model", "URL", "JUDGE", "run"} <= given
