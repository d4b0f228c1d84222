"""The table below a figure holds what is drawn: its names, units and numbers, and nothing else."""

import numpy as np
import pytest

from zephyr_utils import figures


def tables(fig):
    """The tables after drawing, as a page shows them."""
    figures.figure_html(fig, alt="what it shows", caption="A caption.")
    return figures.figure_tables(fig)


def only(fig):
    [table] = tables(fig)
    return table


def test_lines_over_the_same_steps_are_columns_and_others_are_rows_with_their_name():
    fig = figures.loss_curve({"training": {1: 2.0, 2: 1.0}, "held out": {1: 2.5, 2: 1.5}})
    together = only(fig)
    assert together.columns == ["step", "training", "held out"]
    assert together.rows == [["1", "2.000", "2.500"], ["2", "1.000", "1.500"]]
    assert together.caption == "loss (nats per token)"

    apart = only(figures.loss_curve({"training": {1: 2.0, 2: 1.0}, "held out": {2: 1.5}}))
    assert apart.columns == ["series", "step", "loss (nats per token)"]
    assert apart.rows[-1] == ["held out", "2", "1.500"] and len(apart.rows) == 3


def test_a_long_line_is_thinned_keeps_its_ends_and_says_so():
    table = only(figures.loss_curve({"training": {step: 1 / step for step in range(1, 1235)}}))
    assert len(table.rows) == 20 and table.note == "20 of 1,234 points, evenly spread."
    assert table.columns[1] == "training" and table.caption == "loss (nats per token)"
    assert table.rows[0] == ["1", "1.000"] and table.rows[-1][0] == "1,234"


def test_a_short_series_is_not_thinned_for_a_long_one():
    log = {"training": {step: 1.0 for step in range(100)}, "held out": {0: 2.5, 50: 1.2, 99: 1.1}}
    rows = only(figures.loss_curve(log)).rows
    assert [row for row in rows if row[0] == "held out"] == [
        ["held out", "0", "2.500"],
        ["held out", "50", "1.200"],
        ["held out", "99", "1.100"],
    ]
    assert len(rows) == 20


def test_bars_have_their_names_their_means_and_their_intervals():
    table = only(figures.score_bars(["dSFT", "costs $5"], [5.0, 7.0], [(4.5, 5.5), (6.5, 7.25)]))
    assert table.columns == ["name", "mean score (95 % interval)", "interval"]
    assert table.rows == [["dSFT", "5.00", "4.50 to 5.50"], ["costs $5", "7.00", "6.50 to 7.25"]]


def test_both_outcomes_have_a_table_each_with_the_models_names():
    right = [(0.7, 0.65, 0.75), (0.6, 0.5, 0.7)]
    fig = figures.score_bars(["dSFT", "dDPO"], [5.0, 7.0], [(4.5, 5.5), (6.5, 7.25)], right=right)
    _, share = tables(fig)
    assert share.columns == ["name", "right answers in % (95 % interval)", "interval"]
    assert share.rows == [["dSFT", "70", "65 to 75"], ["dDPO", "60", "50 to 70"]]


def test_every_end_of_an_epoch_is_named_below_the_table():
    fig = figures.loss_curve({"training": {1: 2.0, 9: 1.0}}, epoch_ends=[3, 6])
    assert only(fig).note == "Line at 3: end of an epoch. Line at 6: end of an epoch."


def test_differences_and_curves_have_their_intervals_beside_their_names():
    differences = only(figures.difference_intervals({"up": (1, 0.5, 2), "down": (-0.2, -0.5, 0.1)}))
    assert differences.rows == [["up", "1.00", "0.50 to 2.00"], ["down", "−0.20", "−0.50 to 0.10"]]
    curves = {"a": {1: (0.1, 0, 0.2), 2: (0.3, 0.2, 0.4)}, "b": {2: (0.5, 0.4, 0.6)}}
    table = only(figures.interval_curves(curves, xlabel="epoch", ylabel="score"))
    assert table.columns == ["series", "epoch", "score", "interval"]
    # In the figure the points of an epoch lie beside each other; here they have its number.
    assert [row[:3] for row in table.rows] == [
        ["a", "1", "0.100"],
        ["a", "2", "0.300"],
        ["b", "2", "0.500"],
    ]


def test_a_histogram_counts_every_text_once_and_names_the_context():
    lengths = {"chosen": list(range(400)), "rejected": list(range(0, 400, 4))}
    table = only(figures.length_histogram(lengths, limit=300))
    assert table.columns == ["tokens", "chosen", "rejected"] and len(table.rows) == 20
    assert [sum(int(row[column]) for row in table.rows) for column in (1, 2)] == [400, 100]
    assert table.note == (
        "Each row holds 2 neighbouring bars of the figure. "
        "Line at 300: context: 300 tokens (123 longer)."
    )
    assert table.rows[0][0].startswith("0 to 20") and table.rows[0][1] == "20"


def test_filled_histograms_have_the_names_of_the_legend():
    table = only(figures.margin_histogram([-1.0, 0.5, 1.0], [1.0, 2.0, 3.0]))
    assert table.columns[1:] == ["before: 67 % above 0", "after: 100 % above 0"]
    assert [sum(int(row[column]) for row in table.rows) for column in (1, 2)] == [3, 3]


def test_a_heat_map_is_its_matrix():
    fig = figures.rating_heatmap(["a", "b"], ["x", "y"], [[1.5, np.nan], [4.0, 2.25]])
    table = only(fig)
    assert table.caption == "mean rating"
    assert [table.columns, *table.rows] == [
        ["name", "x", "y"],
        ["a", "1.50", "–"],
        ["b", "4.00", "2.25"],
    ]


def test_the_radar_has_one_row_for_each_category():
    table = only(figures.category_radar(["writing", "STEM"], {"dSFT": [3.5, 4], "dDPO": [6, 7]}))
    assert table.columns == ["name", "dSFT", "dDPO"]
    assert table.rows == [["writing", "3.50", "6.00"], ["STEM", "4.00", "7.00"]]


def test_panels_that_share_a_legend_or_an_axis_have_its_names_each():
    points = [{"kl": kl, "grade": 5 + kl, "right": kl / 8} for kl in (0.0, 0.5)]
    grade, right = tables(figures.frontier({"dDPO": points}, {"grade": "grade", "right": "right"}))
    assert grade.columns[1] == right.columns[1] == "dDPO"

    fig, panels = figures.figure(2, sharey=True)
    for axes, title in zip(panels, ("Zephyr", "ours"), strict=True):
        axes.plot([1, 2], [0.5, 0.25])
        axes.set(title=title, xlabel="step")
    panels[0].set_ylabel("held-out loss")
    assert [(table.caption, table.columns[1]) for table in tables(fig)] == [
        ("Zephyr", "held-out loss"),
        ("ours", "held-out loss"),
    ]


def test_a_line_without_a_legend_has_the_words_in_its_colour():
    fig, [axes] = figures.figure()
    for n, name in enumerate(("falls", "rises")):
        axes.plot([1, 2], [0, n], color=figures.COLOURS[n])
        axes.annotate(name, (1, 0), color=figures.COLOURS[n])
    assert only(fig).columns == ["x", "falls", "rises"]


@pytest.mark.parametrize(
    ("values", "scale", "shown"),
    [
        ([0, 1234], "linear", ["0", "1,234"]),
        ([0.123456, 1], "linear", ["0.123", "1.000"]),
        ([0.5, 400], "linear", ["0", "400"]),
        ([0.0015, 1234.5], "log", ["0.0015", "1,230"]),
        ([1e-9, 2e-9], "linear", ["1.00e−09", "2.00e−09"]),
        ([1.5, 3e300], "linear", ["1.50e+00", "3.00e+300"]),
        ([-0.001, 4], "linear", ["0.00", "4.00"]),
        ([np.nan, np.inf], "linear", ["–", "–"]),
    ],
)
def test_values_have_the_digits_that_their_axis_can_show(values, scale, shown):
    fig, [axes] = figures.figure()
    axes.plot([1, 2], values)
    axes.set_yscale(scale)
    assert [row[1] for row in only(fig).rows] == shown


def test_words_as_places_stay_words():
    fig, [axes] = figures.figure()
    axes.plot(["one", "two"], [1, 2])
    assert only(fig).rows == [["one", "1"], ["two", "2"]]


@pytest.mark.parametrize("draw", ["imshow", "pie", "plot", "nothing"])
def test_a_picture_without_numbers_that_are_understood_has_no_table(draw):
    fig, [axes] = figures.figure()
    if draw == "imshow":
        axes.imshow(np.zeros((2, 2, 3)))
    elif draw != "nothing":
        getattr(axes, draw)([1] if draw == "pie" else [])
    assert tables(fig) == []
    assert "<details" not in figures.figure_html(fig, alt="a", caption="c")


def test_the_folded_table_needs_no_script_and_escapes_names():
    fig = figures.loss_curve({"<b>bold</b> & co": {1: 1.0, 2: 0.5}})
    page = figures.figure_html(fig, alt="a", caption="c")
    _, details = page.split('<details class="figure-table">')
    assert details.startswith("<summary>The figure as a table</summary>")
    assert '<th scope="col">&lt;b&gt;bold&lt;/b&gt; &amp; co</th>' in details
    assert '<th scope="row">1</th><td class="number">1.000</td>' in details
    assert 'tabindex="0"' in details and "<script" not in page


def test_tables_that_are_given_take_the_place_of_those_read_from_the_figure():
    fig, [axes] = figures.figure()
    axes.scatter([1, 2], [3, 4], s=[10, 20])
    given = figures.FigureTable(["grade", "answers"], [["3", "5 < 6"]], "a & b", "A <note>.")
    page = figures.figure_html(fig, alt="a", caption="c", tables=[given])
    assert page.count("<table>") == 1 and "<caption>a &amp; b</caption>" in page
    assert '<td class="number">5 &lt; 6</td>' in page and "<p>A &lt;note&gt;.</p>" in page
