"""README's picture: it shows what was measured, needs no style from elsewhere, and is in step with
the results.
"""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import readme_picture
from contrast import contrast

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json

SVG = "{http://www.w3.org/2000/svg}"


def seed(ddpo_score):
    """What one seed measured, as far as the picture wants it."""
    scores = {"base": 1.5, "dsft": 4.5, "ddpo": ddpo_score}
    rows = {name: {"exam": {"score": score, "right": score / 10}} for name, score in scores.items()}
    rows["ddpo"] |= {
        "dsft": {"rows_trained": 5430, "held_out_loss_before": 2.7, "held_out_loss": 0.3},
        "trained": {"rows_in": 3985},
        "margins": {"accuracy": 0.75, "margin": 0.5},
    }
    return rows


def test_the_picture_shows_the_means_of_the_seeds_that_have_all_three_models():
    unfinished = {"base": seed(9.0)["base"]}
    metrics, seeds = readme_picture.metrics_of(
        {"measured": {"0": seed(5.0), "1": seed(7.0), "2": unfinished}}
    )
    assert seeds == 2
    drawn = ElementTree.fromstring(readme_picture.picture(metrics))
    words = [element.text for element in drawn.iter(f"{SVG}text")]
    assert "grade 6.0" in words and "60\u00a0% right" in words
    assert "3,985 pairs: the best and" in words
    assert "after dDPO 6.0 with 60\u00a0% of the answers right" in drawn.get("aria-label")
    assert "(not in this run)" not in " ".join(words)


def test_both_outcomes_are_drawn_to_scale_and_lie_on_the_page():
    metrics, _ = readme_picture.metrics_of({"measured": {"0": seed(5.5)}})
    metrics["07_evaluation"]["right_ddpo"] = 0.25  # which no scale but its own gives
    drawn = ElementTree.fromstring(readme_picture.picture(metrics))

    def lengths(kind):
        return [
            float(bar.get("width")) for bar in drawn.iter(f"{SVG}rect") if bar.get("class") == kind
        ]

    whole = lengths("track")
    assert len(whole) == 6 and len(set(whole)) == 1
    shares = [1 / 18, 7 / 18, 1 / 2]  # of the way from 1 to 10
    assert lengths("bar") == pytest.approx([whole[0] * share for share in shares], abs=0.1)
    shares = [0.15, 0.45, 0.25]
    assert lengths("bar right") == pytest.approx([whole[0] * share for share in shares], abs=0.1)
    left, top, width, height = map(float, drawn.get("viewBox").split())
    paper, *_ = (one for one in drawn.iter(f"{SVG}rect") if one.get("class") == "paper")
    assert [float(paper.get(side)) for side in ("x", "y", "width", "height")] == [
        left,
        top,
        width,
        height,
    ]
    for shape in drawn.iter(f"{SVG}rect"):
        assert float(shape.get("y")) + float(shape.get("height")) <= top + height


def test_without_a_whole_seed_there_is_no_picture_and_the_remedy_is_named():
    with pytest.raises(HandbookError, match="no seed has base, dSFT and dDPO"):
        readme_picture.metrics_of({"measured": {"0": {"base": seed(5.0)["base"]}}})


def test_words_and_bars_stand_out_from_the_ground_in_light_and_in_dark():
    light, dark = readme_picture.STYLE.split("@media (prefers-color-scheme: dark)")
    for style in (light, dark):
        ground, ink = re.search(r"svg { background: (#\w+); color: (#\w+); }", style).groups()
        assert f".paper {{ fill: {ground}; }}" in style
        for colour, least in [
            (ink, 7),
            *(
                (found, 3)
                for found in re.findall(r"(?:stroke|bar { fill|right { fill): (#\w+)", style)
            ),
        ]:
            assert contrast(ground, colour) >= least, f"{colour} on {ground}"


def test_readme_shows_what_was_measured():
    results = read_json(readme_picture.RESULTS)
    try:
        metrics, seeds = readme_picture.metrics_of(results)
    except HandbookError as error:
        pytest.skip(f"measured again, and not to the end: {error}")
    remedy = "run: python tools/readme_picture.py"
    assert readme_picture.PICTURE.read_text(encoding="utf-8") == readme_picture.picture(metrics), (
        remedy
    )
    said = readme_picture.dpo_in_words(results)
    shown = readme_picture.README.read_text(encoding="utf-8")
    assert readme_picture.block(metrics, seeds, said) in shown, remedy


def test_what_dpo_adds_is_said_in_both_outcomes_with_verdicts():
    rows = {str(number): seed(5.0 + number / 100) for number in range(3)}
    for one in rows.values():
        one["dsft"]["exam"]["right"] = 0.6
    said = readme_picture.dpo_in_words({"measured": rows})
    assert "raises the grade: **holds**: +0.51 [" in said
    assert "right answers (percentage points): **does not hold**: −9.9 [" in said
    assert readme_picture.dpo_in_words({"measured": {}}) == ""
