"""The search behind the recipes: what it keeps of earlier results."""

import io
import json
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import search  # noqa: E402


def test_a_result_stamps_its_own_stage_and_leaves_the_stamps_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "RESULTS", tmp_path / "search.json")
    earlier = [{"learning_rate": 1e-3, "seed": seed, "score": 5.0} for seed in search.grids.SEEDS]
    stamp = {"cpu": "another machine"}
    known = {stage: {"tried": earlier, "stamp": stamp} for stage in ("few", "ipo")}
    (tmp_path / "search.json").write_text(json.dumps(known))
    found = search.Search(Console(file=io.StringIO()), [], 1)
    found._keep("few", {"learning_rate": 2e-3, "seed": 100, "score": 6.0})
    written = json.loads((tmp_path / "search.json").read_text())
    assert written["ipo"]["stamp"] == stamp and written["ipo"]["tried"] == earlier
    assert written["few"]["stamp"]["threads"] == 1 and len(written["few"]["tried"]) == 4
    assert written["few"]["winner"] == {"learning_rate": 1e-3}, "the only one of all three seeds"
