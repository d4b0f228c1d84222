"""A figure on a narrow screen: its panels below each other, its legend within the page."""

import base64
import re
from pathlib import Path

import pytest

from zephyr_utils import figures
from zephyr_utils.figures.phone import WIDTH, on_a_phone

CSS = Path(figures.__file__).parents[2] / "book" / "assets" / "book.css"
BREAKPOINT = re.search(r"@media (\(max-width: \d+px\))", CSS.read_text("utf-8"))[1]


def two_panels():
    fig, [left, right] = figures.figure(2, width=9.0, sharey=True)
    for n, name in enumerate(("a rather long name of a series", "another long name", "a third")):
        figures.style.plot_line(left, {0: 0.0, 1: float(n)}, name, n)
        figures.style.plot_line(right, {0: 1.0, 1: float(n)}, None, n)
    figures.style.legend_below(fig)
    return fig


def test_on_a_phone_panels_stand_below_each_other_and_the_legend_fits():
    fig = two_panels()
    with on_a_phone(fig):
        fig.draw_without_rendering()
        left, right = (axes.get_position() for axes in fig.axes)
        assert fig.get_figwidth() == WIDTH and left.y0 > right.y1
        assert left.x0 == pytest.approx(right.x0, abs=0.1)
        [legend] = fig.legends
        assert legend.get_window_extent().width <= fig.bbox.width
        assert [text.get_text() for text in legend.get_texts()][1] == "another long name"


def numbers_of(axes):
    return [label for label in axes.get_yticklabels() if label.get_visible()]


def test_panels_that_share_an_axis_have_numbers_of_their_own_on_a_phone():
    fig = two_panels()
    fig.draw_without_rendering()
    assert not numbers_of(fig.axes[1])
    with on_a_phone(fig):
        fig.draw_without_rendering()
        assert all(map(numbers_of, fig.axes))
    fig.draw_without_rendering()
    assert numbers_of(fig.axes[0]) and not numbers_of(fig.axes[1])


def test_afterwards_the_figure_is_as_it_was_also_after_an_error():
    fig = two_panels()
    before = list(fig.get_size_inches()), [a.get_subplotspec() for a in fig.axes], list(fig.legends)
    with pytest.raises(ValueError, match="stop"), on_a_phone(fig):
        raise ValueError("stop")
    after = list(fig.get_size_inches()), [a.get_subplotspec() for a in fig.axes], list(fig.legends)
    assert before == after


def test_a_label_longer_than_its_axis_stays_on_the_page():
    rows = {"a row whose name takes half of the page": (1.0, 0.5, 1.5)}
    fig = figures.difference_intervals(rows, label="difference, right answers (95 % interval)")
    label = fig.axes[0].xaxis.label
    before = label.get_position(), label.get_horizontalalignment()
    with on_a_phone(fig):
        fig.draw_without_rendering()
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= fig.bbox.width
    assert (label.get_position(), label.get_horizontalalignment()) == before


def test_a_legend_of_many_names_leaves_the_panels_their_height():
    points = {f"method number {n} of many": [{"kl": n, "grade": 5.0}] for n in range(19)}
    fig = figures.frontier(points, {"grade": "mean grade"})
    with on_a_phone(fig):
        fig.draw_without_rendering()
        assert fig.axes[0].get_window_extent().height > 1.5 * fig.dpi


def test_a_circle_has_no_empty_paper_above_and_below_it():
    fig = figures.category_radar(["writing", "math", "coding"], {"dsft": [1.0, 2.0, 3.0]})
    with on_a_phone(fig):
        assert fig.get_figheight() <= WIDTH
    assert fig.get_figheight() > WIDTH


def test_a_narrow_figure_is_not_made_wider():
    fig, _ = figures.figure(width=3.0, height=2.0)
    with on_a_phone(fig):
        assert list(fig.get_size_inches()) == [3.0, 2.0]


def test_a_page_offers_the_phones_picture_to_narrow_screens_alone():
    page = figures.figure_html(two_panels(), alt="what it shows", caption="A caption.")
    narrow = re.search(r'<source media="([^"]+)" srcset="data:[^,]+,([^"]+)">', page)
    wide = re.search(r'<img [^>]*src="data:[^,]+,([^"]+)"', page)
    assert narrow[1] == f"screen and {BREAKPOINT}"
    width = [
        float(re.search(rb'<svg [^>]*width="([\d.]+)pt"', base64.b64decode(data))[1])
        for data in (narrow[2], wide[1])
    ]
    assert width == pytest.approx([72 * WIDTH, 72 * 9.0])
