"""Predictions, explanations and real records: what they show, what they refuse, and that chapters
type no number of a run by hand.
"""

import ast
import html.parser
import re
from pathlib import Path

import jupytext
import pytest
from browsing import chromium, recording_tab, served
from safe_outputs import unsafe

from zephyr_utils import lessons
from zephyr_utils.errors import HandbookError
from zephyr_utils.lessons.markdown import markdown_html
from zephyr_utils.lessons.prediction import ASKED

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
# Chapters whose explanations are all bound to their run. Add yours once it is converted.
CONVERTED = (
    "00_overview",
    "01_truecasing",
    "02_dsft",
    "03_ai_feedback",
    "04_preference_pairs",
    "05_ddpo",
    "06_reward_margins",
    "07_evaluation",
    "08_ablations",
    "09_scaling_up",
    "10_reward_models",
    "11_sampling_again",
    "12_comparisons",
    "13_break_my_run",
)  # fmt: skip
HOSTILE = "</label><script>run()</script> <img src=x onerror=run()> [a](javascript:run()) ![b](x)"
# Numbers that no run changes: formulas, code, names of chapters, equations, figures and steps.
FIXED = re.compile(
    r"\$[^$]+\$|`[^`]*`|\b(?:Chapter|chapter|equation|Equation|section|table|figure|step|turn) \d+"
    r"|\bln 2\b|\bF1\b|\b[A-Z]\w*-\d\w*(?:-\w+)*"
)


@pytest.fixture(autouse=True)
def no_earlier_predictions():
    ASKED.clear()


class _Page(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_a_prediction_is_a_group_of_radio_buttons_each_in_its_label_and_marks_the_right_one():
    page = _Page(lessons.prediction_html("Which *one*?", ["`a`", "b $x_1$", "c"], 1, key="one"))
    radios = page.named("input")
    assert [radio["value"] for radio in radios] == ["0", "1", "2"]
    assert {(radio["type"], radio["name"]) for radio in radios} == {("radio", "predict-one")}
    right = [place for place, label in enumerate(page.named("label")) if "right" in label["class"]]
    assert right == [1]
    assert len(page.named("fieldset")) == len(page.named("legend")) == 1
    assert "a) a" in page.words and "b) b \\(x_1\\)" in page.words


def test_without_a_known_answer_no_choice_is_marked():
    assert "predict-right" not in lessons.prediction_html("?", ["a", "b"], key="one")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"question": " "}, "needs a question"),
        ({"options": ["a"]}, "at least two different options"),
        ({"options": ["a", "a"]}, "at least two different options"),
        ({"answer": 2}, "the answer 2 is not the place of one of 2 options"),
        ({"answer": -1}, "the answer -1 is not the place"),
        ({"key": "Two words"}, "'Two words' does not begin with a lower-case letter"),
        ({"key": "1"}, "'1' does not begin with a lower-case letter"),
    ],
)
def test_a_prediction_that_cannot_be_answered_is_refused(arguments, words):
    given = {"question": "?", "options": ["a", "b"], "answer": None, "key": "one"} | arguments
    with pytest.raises(HandbookError, match=words):
        lessons.predict(**given)
    assert not ASKED


def test_an_explanation_is_folded_and_opens_with_the_choice_that_the_run_made_right():
    lessons.predict("?", ["up", "*down*"], key="one")
    page = lessons.explanation_html("It went **down** by 0.5.", key="one", answer=1)
    assert page.startswith("<details") and " open" not in page.partition(">")[0]
    assert "predict-key-one predict-is-1" in page
    assert "<strong>b) <em>down</em></strong>" in page and "<strong>down</strong> by 0.5" in page


def test_numbers_of_a_format_specification_are_set_as_in_prose():
    page = lessons.explanation_html(
        "5% of dSFT-1, 3 % at -0.5 (-2 to +1) on 2026-11-29: `-1%` $-1$"
    )
    shown = page.partition("</summary>")[2]
    assert "5\xa0% of dSFT-1, 3\xa0% at −0.5 (−2 to +1) on 2026-11-29" in shown
    assert "<code>-1%</code>" in shown and "\\(-1\\)" in shown


def test_an_answer_known_before_the_run_is_named_too_and_must_be_the_runs():
    lessons.predict("?", ["up", "down"], 0, key="one")
    assert "predict-is-0" in lessons.explanation_html("Up.", key="one")
    assert "predict-is-0" in lessons.explanation_html("Up.", key="one", answer=0)
    with pytest.raises(HandbookError, match="predict says that option 0 is right, the run says 1"):
        lessons.explanation_html("Down.", key="one", answer=1)


def test_an_explanation_refers_to_a_prediction_that_was_asked_and_to_one_of_its_options():
    with pytest.raises(HandbookError, match="no prediction has the key 'two'"):
        lessons.explanation_html("Up.", key="two")
    lessons.predict("?", ["up", "down"], key="one")
    with pytest.raises(HandbookError, match="not the place of one of 2 options"):
        lessons.explanation_html("Up.", key="one", answer=2)
    assert "predict-is" not in lessons.explanation_html("Neither.", key="one")
    with pytest.raises(HandbookError, match="without text"):
        lessons.explanation_html(" ")


def test_hostile_text_is_shown_as_text_and_may_become_a_page():
    lessons.predict("?", [HOSTILE, "b"], key="one")
    pages = [
        lessons.prediction_html(HOSTILE, [HOSTILE, "b"], key="one"),
        lessons.explanation_html(HOSTILE, title=HOSTILE, key="one", answer=0),
    ]
    for page in pages:
        assert list(unsafe("text/html", page)) == []
        assert not {"script", "img", "a"} & {tag for tag, _ in _Page(page).tags}
        assert "<script>run()</script>" in _Page(page).words


@pytest.mark.parametrize(
    "page",
    [
        "<input>",
        "<input type='text' name='predict-a'>",
        "<input type='radio' name='q'>",
        "<p name='predict-a'>a</p>",
        "<input type='radio' name='predict-a' onclick='run()'>",
    ],
)
def test_of_inputs_only_a_predictions_choice_may_become_a_page(page):
    assert list(unsafe("text/html", page))


def test_formulas_stay_for_mathjax_and_dollars_of_prices_and_of_code_stay_dollars():
    assert "\\(\\pi^*_a &lt; \\pi^*_b\\)" in markdown_html("so $\\pi^*_a < \\pi^*_b$ holds")
    assert "<em>" not in markdown_html("$a*b*c$")
    assert "math" not in markdown_html("from $5 to $6, in `$x$`, and \\$y\\$")
    assert "math" not in markdown_html("\ue0000\ue001"), "a record cannot name a formula"


def test_lists_and_tables_of_an_explanation_are_lists_and_tables():
    page = markdown_html("- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n")
    assert page.count("<li>") == 2 and page.count("<td>") == 2


def test_a_published_figure_has_a_source():
    assert lessons.published("0.78", "model card") == "0.78 (model card)"
    with pytest.raises(HandbookError, match=r"0\.78 has no source"):
        lessons.published("0.78", " ")


# --- on the page ----------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path):
    """Two predictions, each with a folded output and an explanation, as MyST-NB lays them out."""
    cells = []
    for key, right in (("one", 0), ("two", 1)):
        lessons.predict("Up or down?", ["up", "down"], key=key)
        cells += [
            lessons.prediction_html("Up or down?", ["up", "down"], key=key),
            f'<details class="admonition hide below-input" id="{key}"><summary>Show</summary>'
            "<pre>0.5</pre></details>",
            lessons.explanation_html("So it went.", key=key, answer=right),
        ]
    body = "".join(f'<div class="cell">{cell}</div>' for cell in cells)
    (tmp_path / "page.html").write_text(
        f'<link rel="icon" href="data:,">{body}<script src="lessons.js"></script>'
    )
    script = NOTEBOOKS.parent / "book" / "assets" / "lessons.js"
    (tmp_path / "lessons.js").write_text(script.read_text())
    with (
        chromium() as browser,
        served(tmp_path) as address,
        recording_tab(browser, address) as tab,
    ):
        tab.goto(f"{address}page.html")
        yield tab


def test_a_choice_by_keyboard_unfolds_the_output_is_judged_remembered_and_taken_back(page):
    box = page.locator(".predict").first
    box.get_by_role("button").click()
    assert box.get_by_role("status").inner_text() == "Pick one of the choices first."
    box.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.locator("#one").get_attribute("open") is None, "moving is not choosing"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#one").get_attribute("open") is not None
    assert page.locator("#two").get_attribute("open") is None
    assert box.get_by_role("status").inner_text() == "Right. On this page so far: 1 of 1."
    second = page.locator(".predict").nth(1)
    second.get_by_label("a) up").check()
    second.get_by_role("button").click()
    assert second.get_by_role("status").inner_text() == (
        "It was b. The box below says why. On this page so far: 1 of 2."
    )
    page.reload()
    assert box.get_by_label("a) up").is_checked() and box.get_by_label("a) up").is_disabled()
    assert page.locator("#one").get_attribute("open") is not None
    box.get_by_role("button", name="Choose again").click()
    assert not box.get_by_label("a) up").is_checked()
    assert box.get_by_role("status").inner_text() == ""
    assert page.complaints == []


# --- what chapters may say ------------------------------------------------------------------------


def lesson_calls(cells, kind):
    """The calls of ``lessons.<kind>`` in code cells."""
    for cell in cells:
        if cell.cell_type == "code" and "lessons." in cell.source:
            for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == f"lessons.{kind}":
                    yield node


def literals(node):
    """The texts of an expression in their order, without those inside a bound value."""
    if isinstance(node, ast.FormattedValue):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for part in ast.iter_child_nodes(node):
        yield from literals(part)


def typed_numbers(call):
    """The words of a call's text that hold digits which no formula, code or name has."""
    # A formula may span a bound number, so the parts are put together first.
    text = FIXED.sub(" ", "\0".join(literals(call.args[0])))
    return re.findall(r"[^\s\0]*\d[^\s\0]*", text)


def chapter(text):
    return jupytext.reads(text, fmt="py:percent").cells


@pytest.mark.parametrize("name", CONVERTED)
def test_explanations_of_a_converted_chapter_hold_no_number_typed_by_hand(name):
    cells = chapter((NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8"))
    explained = list(lesson_calls(cells, "explain"))
    assert explained, "a converted chapter explains with lessons.explain"
    assert [number for call in explained for number in typed_numbers(call)] == []
    boxes = [cell for cell in cells if "{admonition} What happened" in cell.source]
    assert not boxes, "an explanation in Markdown cannot be bound to the run"


@pytest.mark.parametrize("name", CONVERTED)
def test_the_result_below_a_prediction_is_folded(name):
    cells = chapter((NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8"))
    asked = False
    for cell in cells:
        if "lessons.predict(" in cell.source:
            asked = True
        elif "lessons.explain(" in cell.source:
            assert not asked, f"no folded output before {cell.source.splitlines()[1].strip()}"
        elif asked and "hide-output" in cell.metadata.get("tags", []):
            asked = False


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('f"Of {n} rows 12 remain."', ["12"]),
        ('f"Of {n} rows {12:d} remain."', []),
        ('"Chapter 05 and `beta=0.1` and $x^2$ and Zephyr-7B-beta and ln 2, F1"', []),
        ('"It fell " + f"by {x:.2f}" + " to 0.5."', ["0.5."]),
        ("f\"Zephyr's was {lessons.published('0.78', 'model card')}.\"", []),
        ('f"$x = {x:.2f}$ of 3"', ["3"]),
    ],
)
def test_the_search_for_typed_numbers_finds_them_and_nothing_else(text, numbers):
    [call] = lesson_calls(chapter(f"# %%\nlessons.explain({text})\n"), "explain")
    assert typed_numbers(call) == numbers
