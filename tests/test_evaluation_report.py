"""The report page and what feeds it: records on disk, kept judgments, and figures that both files
agree on.
"""

import json
import re
import warnings
from html.parser import HTMLParser

import pytest
from real_records import REAL, needs

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import (
    EvaluationError,
    EvaluationWarning,
    Report,
    TaskScore,
    annotation_files,
    read_annotations,
    read_judgments,
)

QUESTIONS = [
    {"question_id": n, "category": category, "turns": [f"First {n}?", f"Second {n}?"]}
    for n, category in enumerate(("writing", "math", "stem"), start=1)
]
EVIL = '<script>alert("x")</script> & <img src=x onerror=alert(1)>'


def answers(model, text="Yes."):
    return [
        {"question_id": q["question_id"], "model_id": model, "choices": [{"turns": [text, text]}]}
        for q in QUESTIONS
    ]


def judgments(model, *scores, **fields):
    turns = [(q["question_id"], turn) for q in QUESTIONS for turn in (1, 2)]
    return [
        {
            "question_id": key,
            "turn": turn,
            "model": model,
            "score": score,
            "judge": ["j", "p"],
            **fields,
        }
        for (key, turn), score in zip(turns, scores, strict=True)
    ]


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(report, folder):
    page = report.write(folder)
    return page.read_text(encoding="utf-8"), json.loads(
        (folder / "report.json").read_text(encoding="utf-8")
    )


def test_page_and_json_hold_the_same_scores_best_first(tmp_path):
    report = Report("Two models", {"Judge": "a rule"})
    rows = judgments("weak", 1, 2, 3, 4, 5, 6) + judgments("strong", 7, 7, 8, 8, 9, 9)
    report.add_judgments(rows, QUESTIONS, answers("weak") + answers("strong"))
    page, content = written(report, tmp_path)
    assert list(content["grades"]) == ["strong", "weak"]
    assert (
        content["grades"]["weak"]["overall"] == 3.5
        and content["grades"]["strong"]["by_category"]["stem"] == 9
    )
    (difference,) = content["grade_differences"]
    assert (difference["first"], difference["mean"], difference["n"]) == ("strong", 4.5, 3)
    assert content["about"]["Judge"] == "a rule"
    assert "8.00" in page and "3.50" in page and "+4.50" in page
    assert "img" in [tag for tag, _ in Tags(page).found], "the radar is there"


def test_what_a_model_or_a_judge_wrote_is_text_and_the_page_needs_nothing_else(tmp_path):
    report = Report(EVIL, {EVIL: EVIL})
    questions = [{**q, "turns": [EVIL, EVIL], "category": EVIL} for q in QUESTIONS]
    report.add_judgments(
        judgments(EVIL, 1, 2, 3, 4, 5, 6, judgment=EVIL), questions, answers(EVIL, EVIL)
    )
    report.add_academic([TaskScore(EVIL, "acc", 25.5, None, 0)])
    page, content = written(report, tmp_path)
    assert content["title"] == EVIL
    tags = Tags(page)
    assert tags.open == [] and not {"script", "link", "iframe", "object"} & {
        tag for tag, _ in tags.found
    }
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    sources = [attributes["src"] for _, attributes in tags.found if "src" in attributes]
    assert all(source.startswith("data:image/") for source in sources)
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=.https?:", page)


def test_warnings_stand_on_the_page_and_others_go_on(tmp_path):
    report = Report("Odd")
    report.add_judgments(judgments("a", 1, 2, 3, 4, 5, 6) + judgments("b", 1, 2, 3, 4, 5, 6))
    assert any("one and the same set of judgments" in message for message in report.warnings)
    page, content = written(report, tmp_path)
    assert "one and the same set of judgments" in page and content["warnings"] == report.warnings
    with pytest.warns(UserWarning, match="another"), report.collect_warnings():
        warnings.warn("another", UserWarning, stacklevel=1)


def test_failed_grades_are_counted_on_the_page_and_more_than_a_tenth_stops_it(tmp_path):
    rows = judgments("a", -1, 2, 3, 4, 5, 6)
    with pytest.raises(EvaluationError, match="more than a tenth"):
        Report("Failed").add_judgments(rows)
    report = Report("Failed")
    report.add_judgments(rows, allow_failures=True)
    page, content = written(report, tmp_path)
    assert content["grades"]["a"]["n_failed"] == 1 and content["grades"]["a"]["overall"] == 4
    assert "1 × no rating could be read from the judgment (-1)" in page


def test_figures_that_are_not_finite_become_null(tmp_path):
    report = Report("One row")
    report.add_annotations({"m": [{"preference": 2, "output_1": "a", "output_2": "b"}]})
    _, content = written(report, tmp_path)
    assert content["win_rates"]["m"]["standard_error"] is None


def test_win_rates_carry_their_model_in_each_warning(tmp_path):
    rows = [
        {"index": n, "preference": p, "generator_2": "other"}
        for n, p in enumerate([2.0, 1.0, None, 0])
    ]
    report = Report("Rates")
    report.add_annotations(
        {"mine": rows, "yours": [{"index": n, "preference": 1.0} for n in range(4)]},
        allow_failures=True,
    )
    assert "mine: 1 of 4 annotations are left out: 1 x preference is null" in report.warnings
    assert "mine: the annotations say they judge 'other', not 'mine'" in report.warnings
    page, content = written(report, tmp_path)
    assert (
        list(content["win_rates"]) == ["mine", "yours"]
        and content["win_rates"]["mine"]["n_draws"] == 1
    )
    assert content["win_rate_differences"][0]["n"] == 3 and "50.00" in page


def test_pairs_show_what_followed_the_place(tmp_path):
    shared = {
        "model_1": "a",
        "model_2": "b",
        "judge": ["j", "p"],
        "turn": 1,
        "output_1": "x",
        "output_2": "yyy",
    }
    winners = [
        ("model_2", "model_2"),
        ("model_1", "model_2"),
        ("model_1", "model_1"),
        ("tie", "tie"),
    ]
    rows = [
        {**shared, "question_id": n, "g1_winner": g1, "g2_winner": g2}
        for n, (g1, g2) in enumerate(winners)
    ]
    report = Report("Pairs")
    report.add_recorded([lines(tmp_path / "pairs.jsonl", rows)])
    page, content = written(report, tmp_path)
    assert content["about"]["Judge"] == "j", "as the records name it"
    assert content["pairs"][0]["n_first_place"] == 1 and content["pairs"][0]["win_rate_2"] == 50
    assert "b against a" in page


def test_files_are_named_by_themselves_or_by_alpaca_evals_folders(tmp_path):
    rows = [{"index": 0, "preference": 2.0}]
    lines(tmp_path / "slim" / "model-1.5.jsonl", rows)
    own = lines(tmp_path / "results" / "zephyr" / "alpaca_eval_gpt4" / "annotations.json", rows)
    own.write_text(json.dumps(rows), encoding="utf-8")
    assert set(annotation_files([tmp_path])) == {"model-1.5", "zephyr"}
    assert read_annotations([tmp_path / "results"]) == {"zephyr": rows}
    second = tmp_path / "results" / "zephyr" / "weighted" / "annotations.json"
    second.parent.mkdir()
    second.write_text(json.dumps(rows), encoding="utf-8")
    assert set(annotation_files([tmp_path / "results"])) == {
        "zephyr (alpaca_eval_gpt4)",
        "zephyr (weighted)",
    }


def test_files_of_a_folder_that_are_not_read_are_named(tmp_path):
    rows = [{"question_id": 81, "model": "m", "turn": 1, "score": 7, "judgment": "[[7]]"}]
    lines(tmp_path / "a.jsonl", rows)
    lines(tmp_path / "C.JSONL", rows)
    (tmp_path / "notes.md").write_text("not records", encoding="utf-8")
    (tmp_path / "b.csv").write_text("question_id,model,turn,score\n82,m,1,3\n", encoding="utf-8")
    with pytest.warns(EvaluationWarning, match=r"1 of 3 files of records .* the first: b\.csv"):
        assert len(read_judgments([tmp_path])) == 2


def test_one_name_for_two_files_and_a_folder_without_records_are_errors(tmp_path):
    for folder in ("one", "two"):
        lines(tmp_path / folder / "m.jsonl", [{"preference": 1}])
    with pytest.raises(EvaluationError, match="two files are about 'm'"):
        annotation_files([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match=r"holds no \.json or \.jsonl file"):
        read_judgments([tmp_path / "empty"])


@needs("alpaca_eval_ccbync")
@needs("mt_bench")
def test_real_records_make_one_report_with_the_published_figures(tmp_path):
    report = Report("Real")
    report.add_recorded(
        [REAL / "mt_bench" / "model_judgment"],
        [REAL / "alpaca_eval_ccbync" / "ae1_alpaca_eval_gpt4_slim"],
    )
    page, content = written(report, tmp_path)
    assert round(content["win_rates"]["zephyr-7b-beta"]["win_rate"], 2) == 90.60
    assert content["grades"]["mamba_0_5_dpo_ep3"]["overall"] == 7.3125
    assert [(p["n_wins_2"], p["n_wins_1"]) for p in content["pairs"]] == [(13, 10)]
    assert "zephyr-7b-beta" in page and not any(
        "one set of annotations" in message for message in report.warnings
    )


def test_a_judgment_of_another_models_answer_is_named(tmp_path):
    rows = judgments("a", 1, 2, 3, 4, 5, 6, user_prompt="Somebody else's answer: No.")
    report = Report("Wrong")
    report.add_judgments(rows, QUESTIONS, answers("a"))
    assert any(
        "6 judgments are not of the model's own answer" in message for message in report.warnings
    )


LONG = "n" * 200_000


@pytest.mark.parametrize(
    "name",
    [
        LONG,
        "\x1b[31mred\x1b[0m",
        "half \ud83d of a pair",
        "right\u202eleft",
        "[/x] [red]",
        "$x^",
        "a\x00b",
    ],
)
def test_names_of_any_kind_leave_a_small_whole_page(tmp_path, name):
    questions = [{**q, "category": name} for q in QUESTIONS]
    report = Report("Names")
    rows = judgments(name, 1, 2, 3, 4, 5, 6, judge=[name, name])
    rows += judgments(name + "2", 1, 2, 3, 4, 5, -1, judge=[name + "2", name])
    report.add_judgments(rows, questions, answers(name) + answers(name + "2"), allow_failures=True)
    pair = {"model_1": name, "model_2": name + "2", "g1_winner": "tie", "g2_winner": name}
    report.add_pairs([{**pair, "question_id": name, "turn": name}], allow_failures=True)
    rates = [
        {"index": n, "preference": 1 + n % 2, "generator_1": name + str(n), "annotator": name}
        for n in range(4)
    ]
    report.add_annotations({name: rates, name + "2": rates})
    page, content = written(report, tmp_path)
    assert len(page) < 100_000 and len(json.dumps(content)) < 100_000
    assert Tags(page).open == [] and "\x1b" not in page and "\x00" not in page
    assert len(content["grades"]) == 2, "two names of one beginning stay two"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("text", ["\ud83d", "ok \udc00 then", "\udfff" * 5])
def test_halves_of_surrogate_pairs_in_texts_do_not_stop_a_report(tmp_path, text):
    questions = [{**q, "turns": [text, text]} for q in QUESTIONS]
    report = Report("Odd", {text: text})
    report.add_judgments(
        judgments("a", 1, 2, 3, 4, 5, 6, judgment=text), questions, answers("a", text)
    )
    _, content = written(report, tmp_path)
    assert content["answers"][0]["turns"][0]["answers"]["a"]["text"] == text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300, "a\0b"])
def test_a_report_that_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(HandbookError, match="cannot be written"):
        Report("x").write(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("value", [10**400, [1], {"a": 1}, float("nan"), True, "9" * 5000, None])
def test_fields_of_any_kind_are_counted_and_stop_nothing(tmp_path, value):
    rows = judgments("a", *[5] * 6) * 2 + [
        {"question_id": value, "turn": 1, "model": "a", "score": 5, "judge": value},
        {"question_id": 1, "turn": value, "model": "a", "score": 5, "category": value},
        {"question_id": 1, "turn": 1, "model": "a", "score": value, "judgment": value},
    ]
    report = Report("Odd")
    report.add_judgments(rows, QUESTIONS, answers("a"), allow_failures=True)
    _, content = written(report, tmp_path)
    grades = content["grades"]["a"]
    assert grades["n_judgments"] == 15 and grades["overall"] == 5
    assert grades["n_failed"] == sum(grades["failures"].values()) >= 2


def test_a_report_does_not_depend_on_the_order_of_the_records(tmp_path):
    rows = judgments("a", 1, 9, 3, 7, 5, -1) + judgments("b", 2, 2, 8, 8, 4, 6)
    rates = [{"index": n, "preference": 1 + (n * 0.37) % 1} for n in range(30)]
    contents = []
    for order in (1, -1):
        report = Report("Order")
        report.add_judgments(rows[::order], QUESTIONS, answers("a")[::order], allow_failures=True)
        report.add_annotations(
            {"m": rates[::order], "n": [{**r, "preference": 1.5} for r in rates]}
        )
        contents.append(report.content())
    assert contents[0] == contents[1]


def test_reasons_of_many_kinds_are_summed_up_on_the_page_and_whole_in_the_json(tmp_path):
    rows = judgments("a", *[5] * 6) * 4 + [
        {"question_id": 1, "turn": 1, "model": "a", "score": 11 + n} for n in range(30)
    ]
    report = Report("Many")
    report.add_judgments(rows, allow_failures=True)
    page, content = written(report, tmp_path)
    assert "20 × 20 other reasons" in page and len(content["grades"]["a"]["failures"]) == 30
