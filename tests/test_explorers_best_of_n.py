"""The best of n: the choices are those of the package, and the words say what the numbers say."""

import numpy as np
import pytest
from explorer_scripts import in_node

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.best_of_n import SHOWN, BestOfN
from zephyr_utils.rewards import best_of_n

REWARDS, GRADES = [0.5, -1.0, 2.0, 2.0], [4.0, 9.0, 3.0, 8.0]


def question(prompt="Which?", rewards=REWARDS, grades=GRADES):
    answers = [
        {"text": f"<b>{n}</b>", "reward": reward, "grade": grade}
        for n, (reward, grade) in enumerate(zip(rewards, grades, strict=True))
    ]
    return {"prompt": prompt, "answers": answers}


def test_the_script_chooses_as_the_package_does():
    body = "result = [1, 2, 3, 4].map((n) => script.best(values, n, 'reward'));"
    ours = in_node("best_of_n", question()["answers"], body)
    assert ours == [int(best_of_n([REWARDS[:n]])[0]) for n in (1, 2, 3, 4)] == [0, 0, 2, 2]


def test_the_words_name_the_choice_its_grade_and_the_highest_grade():
    body = "result = [1, 2, 4].map((n) => script.reading(values, n));"
    one, two, four = in_node("best_of_n", question()["answers"], body)
    assert one.startswith("One answer leaves no choice.") and "number 1 (reward +0.50)" in one
    assert "grades 4.0" in two and two.endswith("The highest grade among the 2 answers is 9.0.")
    assert "number 3 (reward +2.00), which the teacher grades 3.0" in four


def test_the_curves_are_means_over_subsets_and_questions():
    shown = BestOfN([question(), question(grades=[1.0, 1.0, 1.0, 1.0])])
    assert shown.measured == 2
    assert shown.curves["byChance"] == pytest.approx([np.mean(GRADES) / 2 + 0.5] * 4)
    assert shown.curves["byReward"][0] == pytest.approx(shown.curves["byChance"][0])
    assert shown.curves["byGrade"][3] == pytest.approx((9 + 1) / 2)


def test_of_many_questions_some_are_offered_and_all_are_measured():
    shown = BestOfN([question(prompt=str(n)) for n in range(48)])
    assert [one["prompt"] for one in shown.questions] == [str(n) for n in range(0, 48, 4)]
    assert len(shown.questions) == SHOWN and shown.measured == 48


TWO = question(rewards=[1.0, 2.0], grades=[1.0, 2.0])
ONE = question(rewards=[1.0], grades=[1.0])


@pytest.mark.parametrize("questions", [[], [ONE], [question(), TWO]])
def test_questions_without_a_choice_or_of_unequal_ones_are_refused(questions):
    with pytest.raises(HandbookError, match="with the same number of answers"):
        BestOfN(questions)


def test_the_slider_shows_the_first_n_answers_and_marks_both_choices():
    shown = BestOfN([question(), question(prompt="Other?", grades=[1.0, 1.0, 1.0, 1.0])])
    values = {name: getattr(shown, name) for name in ("questions", "curves", "measured")}
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const rows = () => el.all("table")[0].all("tr").slice(1).map((row) =>
            row.all("td").map((cell) => cell.textContent));
        const slider = el.all("input")[0];
        slider.value = "3";
        slider.fire("input");
        const three = rows();
        const select = el.all("select")[0];
        select.value = "1";
        select.fire("change");
        result = { three, other: rows(), svg: el.all("svg").length, bold: el.all("b").length };
    """
    seen = in_node("best_of_n", values, body)
    assert seen["three"] == [
        ["1", "<b>0</b>", "+0.50", "4.0", ""],
        ["2", "<b>1</b>", "−1.00", "9.0", "highest grade"],
        ["3", "<b>2</b>", "+2.00", "3.0", "highest reward"],
    ]
    assert [row[3] for row in seen["other"]] == ["1.0"] * 3 and seen["bold"] == 0
