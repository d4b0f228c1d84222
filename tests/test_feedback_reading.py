"""How a judge's words become ratings: what is meant for sure is read, the rest is named."""

import contextlib
import time

import pytest
from feedback_server import chat_server

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Endpoint, Unreadable, rate_answers, read_critique, read_ratings

FORM = "Answer 1\nRating: {}\nRationale: ok"


def reason_of(read, *arguments):
    with pytest.raises(Unreadable) as caught:
        read(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    "value",
    [
        *["4", " 4 ", "4.", "4/5", "4 / 5", "4/5.", "4 out of 5", "4 of 5", "4 von 5", "(4)"],
        *["4 (out of 5)", "4/5 (good)", "4 (good)", "4 - good", "4 — good", "4: nearly all"],
        *["4, since it is right", "4 = good", "4 stars", "4 points", "4 Punkte", "4 Sterne."],
        *["**4**", "`4`", "_4_", "[4]", "[[4]]", '"4"', "4.0", "4,0", "04", "0" * 5000 + "4"],
        *["４", "４／５", "\u20034", "4 （gut）", "4/5.0"],
    ],
)
def test_a_rating_of_four_is_a_four_however_it_is_written(value):
    assert read_ratings(FORM.format(value), 1) == [{"Rating": "4", "Rationale": "ok"}]


@pytest.mark.parametrize(
    "text",
    [
        "- **Answer 1**\n- **Rating**: 4\n- **Rationale**: ok",
        "### Answer 1:\n\n**Rating:** 4/5\n\n**Rationale:** ok",
        "* __Answer 1__\n* __Rating__: 4\n* __Rationale__: ok",
        "> Answer 1\n> Rating: 4\n> Rationale: ok",
        "• Answer #1\n• Rating = 4\n• Rationale = ok",
        "Antwort 1\nBewertung: 4\nBegründung: ok",
        "ANTWORT 1:\n**Bewertung:** 4 von 5\n**Begründung:** ok",
        "Ａｎｓｗｅｒ　１\nＲａｔｉｎｇ：４\nＲａｔｉｏｎａｌｅ：ok",
        "Answer 1\r\nRating: 4\r\nRationale: ok\r\n",
        "Answer 1\rRating: 4\rRationale: ok",
        "\ufeffAnswer 1\nRating: 4\nRationale: ok",
        "Answer 1\nRationale: ok\nRating: 4",
        "Answer 1\n\tRating (1 to 5): 4\n\tRationale: ok",
    ],
)
def test_the_form_is_recognised_in_markup_in_german_and_on_any_machine(text):
    assert read_ratings(text, 1) == [{"Rating": "4", "Rationale": "ok"}]


@pytest.mark.parametrize("value", ["N/A", "n/a.", "N/A (it states nothing)", "N / A", "N.A.",
                                   "Not applicable", "nicht anwendbar", "Ｎ／Ａ"])  # fmt: skip
def test_not_applicable_is_read_as_such(value):
    assert read_ratings(FORM.format(value), 1)[0]["Rating"] == "N/A"


def test_a_rationale_is_kept_as_it_is_line_separators_of_unicode_included():
    text = "Answer 1\nRating: 4\nRationale: a\u2028b\u2029c\x85d: ２ *e*\nf"
    assert read_ratings(text, 1)[0]["Rationale"] == "a\u2028b\u2029c\x85d: ２ *e*\nf"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *[(v, "no_whole_number") for v in ("4.5", "4,5", "4-5", "4 or 5", "4 bis 5", "4+", "4?")],
        *[(v, "no_whole_number") for v in ("-3", "four", "4 good", "4 (8/10)", "4½", "4²", "nah")],
        *[(v, "no_whole_number") for v in ("", "٤", "★★★★", "4 out of five", "4 (was 3)", "1e0")],
        *[(v, "other_scale") for v in ("4/10", "8/10", "4 out of 10", "80/100", "4 (out of 10)")],
        *[(v, "out_of_range") for v in ("0", "6", "9", "45", "1" * 309, "1" * 4301, "9" * 100_000)],
    ],
)
def test_what_may_mean_another_number_is_not_a_rating(value, reason):
    assert reason_of(read_ratings, FORM.format(value), 1) == reason


def test_a_number_of_any_length_after_answer_is_an_unknown_answer():
    for digits in (7, 309, 4301, 100_000):
        text = f"Answer {'1' * digits}\nRating: 4"
        assert reason_of(read_ratings, text, 1) == "answers_unknown"


@pytest.mark.parametrize(
    ("value", "grade"),
    [("8", 8), ("8.5/10", 8.5), ("8,5", 8.5), ("8 out of 10", 8), ("8 von 10", 8), ("８", 8),
     ("8 (solid)", 8), ("**8**", 8), ("10/10", 10), ("1.0", 1), ("7.25", 7.25)],
)  # fmt: skip
def test_a_grade_is_read_in_the_same_forms(value, grade):
    for form in (
        "Fair.\nOverall grade: {}",
        "Fair.\n- **Overall grade**: {}",
        "Fair.\nGesamtnote: {}",
    ):
        assert read_critique(form.format(value)) == ("Fair.", grade)


@pytest.mark.parametrize(
    ("value", "reason"),
    [("85/100", "other_scale"), ("4/5", "other_scale"), ("11", "out_of_range"),
     ("10.5", "out_of_range"), ("9" * 5000, "out_of_range"), ("0", "out_of_range"),
     ("eight", "no_grade"), ("7-8", "no_grade"), ("-8", "no_grade"), ("nan", "no_grade")],
)  # fmt: skip
def test_a_grade_on_another_scale_is_none(value, reason):
    assert reason_of(read_critique, f"Fair.\nOverall grade: {value}") == reason


# --- time ---------------------------------------------------------------------------------------

PIECES = ["*", " ", "\t", "#", "* ", "_", "-", "Rating: ", "Rating: 4\n", "Answer 1 ", "Answer 1\n"]
PIECES += ["(", "[", "4", "4/", "4.", "Overall grade: ", "\u3000", "\n", "\r", "`*"]
BEFORE = ["", "Answer 1\nRating: 4", "Answer 1\nRating (", "Answer", "Overall grade: 4"]


def seconds(text, tries):
    """Processor time of reading it in both ways, the best of some tries."""
    best = float("inf")
    for _ in range(tries):
        started = time.process_time()
        for read in (lambda: read_ratings(text, 1), lambda: read_critique(text)):
            with contextlib.suppress(Unreadable):
                read()
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.parametrize("before", BEFORE)
def test_reading_takes_time_in_proportion_to_the_length(before):
    lengths = [1_000 * 2**n for n in range(6)]
    for piece in PIECES:
        # The end matters: a pattern that must fail there may go through the whole again and again.
        texts = [before + piece * (length // len(piece)) + "x" for length in lengths]
        # 32 times the length: quadratic time is 1,024 times as much. A millisecond is noise.
        for tries in (1, 5):
            times = [seconds(text, tries) for text in texts]
            linear = times[-1] <= 0.001 + 150 * max(times[0], 1e-6)
            if linear:
                break
        assert linear, (before, piece, times)


# --- a judge on another scale -------------------------------------------------------------------


def rows(count):
    completions = [{"model": m, "response": f"{m} says"} for m in "abcd"]
    return [{"instruction": f"Question {n}?", "completions": completions} for n in range(count)]


def rated(*values):
    return "\n".join(
        f"Answer {n}\nRating: {v}\nRationale: r" for n, v in enumerate(values, start=1)
    )


def judge(rate, grade=lambda body: 5):
    """A judge: its ratings, and its grade, for each request."""

    def behave(body, n):
        if "Overall grade" in body["messages"][0]["content"]:
            return f"So so.\nOverall grade: {grade(str(body))}"
        return rated(*rate(str(body)))

    return behave


def test_one_rating_off_the_scale_leaves_the_row_without_ratings_and_not_with_another_mean():
    def rate(body):
        return (1, 2, 3, 8) if "honesty:" in body and "Question 2" in body else (1, 2, 3, 4)

    with chat_server(judge(rate)) as chat:
        got = rate_answers(rows(6), "j", endpoint=Endpoint(chat.url), order="given")
    assert [len(row["completions"][0]["annotations"]) for row in got] == [4, 4, 0, 4, 4, 4]
    assert all(completion["annotations"] == {} for completion in got.records[2]["completions"])
    assert all(completion["overall_score"] == 5 for row in got for completion in row["completions"])
    assert got.left_out == {
        "ratings that could not be read": 4,
        "ratings beside others that are off the scale": 12,
    }
    assert [u.reason for u in got.unreadable] == ["out_of_range"] and not got.is_complete


def test_one_grade_off_the_scale_leaves_the_row_without_grades():
    def grade(body):
        return 85 if "c says" in body and "Question 2" in body else 7

    with chat_server(judge(lambda body: (1, 2, 3, 4), grade)) as chat:
        got = rate_answers(rows(6), "j", endpoint=Endpoint(chat.url), order="given")
    grades = [[completion["overall_score"] for completion in row["completions"]] for row in got]
    assert grades == [[7] * 4, [7] * 4, [None] * 4, *[[7] * 4] * 3]
    assert got.left_out["grades beside others that are off the scale"] == 3
    assert all(len(completion["annotations"]) == 4 for completion in got.records[2]["completions"])


@pytest.mark.parametrize("value", ["9", "9/10", "90"])
def test_a_judge_on_another_scale_is_refused_and_its_replies_are_kept(value, tmp_path):
    def rate(body):  # bad answers get what would be good ones on our scale
        return (2, 3, 4, 5) if "Question 0" in body else (2, 3, 4, value)

    journal = tmp_path / "j.jsonl"
    with chat_server(judge(rate)) as chat:
        for _ in range(2):
            with pytest.raises(HandbookError, match="another scale") as caught:
                rate_answers(rows(6), "j", endpoint=Endpoint(chat.url), journal=journal)
    assert "20 of 24 replies with ratings" in str(caught.value) and "'j'" in caught.value.where
    assert chat.paid.total() == 6 * 8, "asked once, kept"


def test_a_missing_aspect_is_counted_in_the_report():
    def rate(body):
        return ("good",) * 4 if "honesty:" in body and "Question 2" in body else (1, 2, 3, 4)

    with chat_server(judge(rate)) as chat:
        got = rate_answers(rows(6), "j", endpoint=Endpoint(chat.url), critiques=False)
    assert got.n_partly_rated == 1 and "1 records are not rated in all aspects" in got.report()
    assert set(got.records[2]["completions"][0]["annotations"]) == set(ASPECTS) - {"honesty"}


def test_only_what_could_not_be_read_is_asked_again_on_request(tmp_path):
    prose = {"on": True}

    def rate(body):
        unclear = prose["on"] and "Question 1" in body and "honesty:" in body
        return ("good",) * 4 if unclear else (1, 2, 3, 4)

    options = {"journal": tmp_path / "j.jsonl", "order": "given"}
    with chat_server(judge(rate)) as chat:
        endpoint = Endpoint(chat.url)
        first = rate_answers(rows(3), "j", endpoint=endpoint, **options)
        n_calls = len(chat.bodies)
        again = rate_answers(rows(3), "j", endpoint=endpoint, retry_unreadable=True, **options)
        assert len(chat.bodies) == n_calls + 1 and again.unreadable == first.unreadable
        prose["on"] = False
        plain = rate_answers(rows(3), "j", endpoint=endpoint, **options)
        assert len(chat.bodies) == n_calls + 1 and plain.unreadable
        third = rate_answers(rows(3), "j", endpoint=endpoint, retry_unreadable=True, **options)
        fourth = rate_answers(rows(3), "j", endpoint=endpoint, retry_unreadable=True, **options)
    assert len(chat.bodies) == n_calls + 2 and fourth.calls.made == 0
    assert third.is_complete and third.records == fourth.records
    assert "(--retry-unreadable asks for these again)" in first.report()
