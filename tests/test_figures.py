"""Figures show the numbers they are given, to readers who see no colours, or no figures, too."""

import base64
import re

import numpy as np
import pytest
from matplotlib.text import Text

from zephyr_utils import figures
from zephyr_utils.errors import HandbookError
from zephyr_utils.figures import page

LOG = {
    "rewards/chosen": {10: 0.1, 20: 0.3},
    "rewards/rejected": {10: -0.1, 20: -0.4},
    "rewards/margins": {10: 0.2, 20: 0.7},
    "rewards/accuracies": {10: 0.6, 20: 0.8},
    "eval_rewards/chosen": {20: 0.2},
    "eval_rewards/rejected": {20: -0.3},
    "eval_rewards/margins": {20: 0.5},
    "eval_rewards/accuracies": {20: 0.7},
}
MODELS = {"dSFT": [3.0, 4.0, 5.0], "dSFT + dDPO": [6.0, 7.0, 8.0]}
METHODS = {
    "dDPO": [
        {"kl": 0.0, "grade": 5.0, "right": 0.3},
        {"kl": 2.0, "grade": 7.0, "right": 0.4},
    ],
    "one point": [{"kl": 1.0, "grade": 5.5, "right": 0.5}],
}
ALL = {
    "loss_curve": lambda: figures.loss_curve({"training": {2: 1.0, 1: 2.0}, "held out": {2: 1.5}}),
    "reward_curves": lambda: figures.reward_curves(LOG),
    "margin_histogram": lambda: figures.margin_histogram(
        [-0.2, 0.1, 0.0, 0.3], [0.5, 1.0, -0.5, 2.0]
    ),
    "learning_rate_schedule": lambda: figures.learning_rate_schedule([0, 1, 2], [0.0, 1e-3, 5e-4]),
    "dpo_loss_figure": lambda: figures.dpo_loss_figure([0.01, 0.1]),
    "length_histogram": lambda: figures.length_histogram(
        {"chosen": [3, 9, 20], "rejected": [5, 6]}, limit=10
    ),
    "rating_heatmap": lambda: figures.rating_heatmap(
        ["a", "b"], ["x", "y", "z"], [[1, 2, 3], [4, 5, 1]]
    ),
    "score_bars": lambda: figures.score_bars(
        ["dSFT", "dDPO"], [5.0, 7.0], [(4.5, 5.5), (6.5, 7.25)]
    ),
    "category_radar": lambda: figures.category_radar(["writing", "coding", "STEM"], MODELS),
    "frontier": lambda: figures.frontier(
        METHODS, {"grade": "mean grade", "right": "right answers"}
    ),
}


def labelled(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("name", ALL)
def test_each_figure_becomes_html_that_is_small_and_always_the_same(name):
    first, again = (
        figures.figure_html(ALL[name](), alt="what it shows", caption="A caption.")
        for _ in range(2)
    )
    assert first == again
    pictures = re.findall(r'"data:image/svg\+xml;base64,([^"]+)"', first)
    assert len(pictures) == 2, "one for a narrow screen, too"
    assert max(map(len, pictures)) < 100_000 and len(first) < sum(map(len, pictures)) + 20_000


@pytest.mark.parametrize("name", ALL)
def test_no_series_is_told_from_another_by_colour_alone(name):
    for axes in ALL[name]().axes:
        looks = [
            (line.get_linestyle(), line.get_marker(), line.get_markerfacecolor() == "#ffffff")
            for line in labelled(axes).values()
        ]
        assert len(looks) == len(set(looks))
        bars = [
            container.patches[0]
            for container in axes.containers
            if getattr(container, "patches", None)
        ]
        hatches = [bar.get_hatch() for bar in bars]
        assert len(hatches) == len(set(hatches))


@pytest.mark.parametrize(
    "name", [name for name in ALL if name not in ("rating_heatmap", "category_radar")]
)
def test_every_axis_says_what_it_shows(name):
    for axes in ALL[name]().axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel() or name == "score_bars"  # whose bars carry the models' names


@pytest.mark.parametrize("name", ALL)
def test_the_background_is_opaque_so_that_dark_pages_show_the_same(name):
    fig = ALL[name]()
    assert fig.get_facecolor()[3] == 1.0 and min(fig.get_facecolor()) > 0.9


def test_loss_curve_draws_each_series_in_the_order_of_its_steps():
    lines = labelled(ALL["loss_curve"]().axes[0])
    assert list(lines["training"].get_xdata()) == [1, 2]
    assert list(lines["training"].get_ydata()) == [2.0, 1.0]
    assert list(lines["held out"].get_ydata()) == [1.5]


def test_loss_curve_draws_the_ends_of_epochs_and_names_them_once():
    fig = figures.loss_curve({"training": {1: 2.0, 9: 1.0}}, epoch_ends=[3, 6])
    [axes] = fig.axes
    drawn = [line for line in axes.lines if list(line.get_xdata()) in ([3, 3], [6, 6])]
    assert [line.get_linestyle() for line in drawn] == ["--", "--"]
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend == ["training", "end of an epoch"]
    assert len(figures.loss_curve({"training": {1: 2.0}}).axes[0].lines) == 1


def test_reward_curves_put_each_metric_into_its_panel():
    rewards, margins, accuracies = figures.reward_curves(LOG).axes
    assert list(labelled(rewards)["rejected, training"].get_ydata()) == [-0.1, -0.4]
    assert list(labelled(rewards)["chosen, held out"].get_ydata()) == [0.2]
    assert list(labelled(margins)["margin and accuracy, training"].get_ydata()) == [0.2, 0.7]
    assert [0.6, 0.8] in [list(line.get_ydata()) for line in accuracies.lines]


def test_reward_curves_do_without_held_out_numbers():
    training = {key: series for key, series in LOG.items() if not key.startswith("eval_")}
    assert set(labelled(figures.reward_curves(training).axes[0])) == {
        "chosen, training",
        "rejected, training",
    }


def test_a_margin_of_zero_is_not_counted_as_above_zero():
    fig = figures.margin_histogram([0.0, 0.0, 0.0, 0.0], [1.0, 2.0, -1.0, 0.0])
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == ["before: 0 % above 0", "after: 50 % above 0"]
    assert [sum(bar.get_height() for bar in bars) for bars in fig.axes[0].containers] == [4, 4]


def test_the_loss_figure_passes_through_ln_2_and_one_half_where_the_log_ratios_are_equal():
    loss, weight = figures.dpo_loss_figure([0.01, 0.1, 1.0]).axes
    for axes, level in ((loss, np.log(2)), (weight, 0.5)):
        for name, line in labelled(axes).items():
            assert name.startswith("β = ")
            assert np.interp(0, line.get_xdata(), line.get_ydata()) == pytest.approx(level)


def test_the_length_histogram_counts_what_exceeds_the_context():
    fig = ALL["length_histogram"]()
    assert "context: 10 tokens (1 longer)" in [
        text.get_text() for text in fig.legends[0].get_texts()
    ]


def test_heatmap_cells_show_their_numbers():
    texts = [text.get_text() for text in ALL["rating_heatmap"]().axes[0].texts]
    assert texts == ["1.00", "2.00", "3.00", "4.00", "5.00", "1.00"]


def test_score_bars_start_at_zero_and_show_their_intervals():
    axes = ALL["score_bars"]().axes[0]
    assert axes.get_xlim()[0] == 0
    assert [bar.get_width() for bar in axes.patches] == [5.0, 7.0]
    segments = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    assert segments == [[4.5, 5.5], [6.5, 7.25]]


def test_score_bars_show_both_outcomes_in_the_same_order_and_look():
    right = [(0.7, 0.65, 0.75), (0.6, 0.5, 0.7)]
    fig = figures.score_bars(["dSFT", "dDPO"], [5.0, 7.0], [(4.5, 5.5), (6.5, 7.25)], right=right)
    grade, share = fig.axes
    assert [bar.get_width() for bar in grade.patches] == [5.0, 7.0]
    assert [bar.get_width() for bar in share.patches] == pytest.approx([70, 60])
    [low, high] = share.collections[0].get_segments()[1][:, 0]
    assert (low, high) == pytest.approx((50, 70)) and "right answers" in share.get_xlabel()
    assert [text.get_text() for text in share.texts] == ["70 %", "60 %"]
    looks = [
        [(bar.get_y(), bar.get_facecolor(), bar.get_hatch()) for bar in axes.patches]
        for axes in fig.axes
    ]
    assert looks[0] == looks[1]
    assert all(axes.yaxis_inverted() for axes in fig.axes)  # the first model on top


def test_the_radar_closes_each_outline():
    lines = labelled(ALL["category_radar"]().axes[0])
    assert list(lines["dSFT"].get_ydata()) == [3.0, 4.0, 5.0, 3.0]


def test_the_frontier_draws_each_measure_against_the_divergence_and_names_a_line_once():
    left, right = ALL["frontier"]().axes
    assert left.lines[0].get_xydata().tolist() == [[0, 5], [2, 7]]
    assert right.lines[0].get_xydata().tolist() == [[0, 0.3], [2, 0.4]]
    assert set(labelled(left)) == set(METHODS) and not labelled(right)


@pytest.mark.parametrize(
    ("lines", "panels", "message"),
    [
        (METHODS, {"reward": "reward"}, "points without kl, reward: dDPO, one point"),
        ({"a": [{"grade": 1.0}]}, {"grade": "grade"}, "points without grade, kl: a"),
        ({}, {"grade": "grade"}, "nothing to draw"),
        (METHODS, {}, "nothing to draw"),
    ],
)
def test_a_frontier_without_its_numbers_is_refused(lines, panels, message):
    with pytest.raises(HandbookError, match=message):
        figures.frontier(lines, panels)


def test_figure_html_escapes_its_texts_and_holds_an_svg():
    page = figures.figure_html(ALL["score_bars"](), alt='5 < 7 "sure"', caption="<b>bold</b>")
    assert 'alt="5 &lt; 7 &quot;sure&quot;"' in page
    assert "<figcaption>&lt;b&gt;bold&lt;/b&gt;</figcaption>" in page
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page).group(1)
    assert b"<svg" in base64.b64decode(data)


@pytest.mark.parametrize("texts", [{"alt": " ", "caption": "c"}, {"alt": "a", "caption": ""}])
def test_a_figure_without_words_is_refused(texts):
    with pytest.raises(HandbookError, match="a figure needs"):
        figures.figure_html(ALL["score_bars"](), **texts)


def test_show_displays_the_figure_once_and_returns_nothing(monkeypatch):
    shown = []
    monkeypatch.setattr(page, "display", shown.append)
    assert figures.show(ALL["score_bars"](), alt="a", caption="c") is None
    assert [type(item).__name__ for item in shown] == ["HTML"]


def test_the_before_and_after_table_escapes_answers_and_keeps_their_columns():
    rows = [
        {"prompt": "2 < 3?", "dSFT": "<script>no</script>", "dDPO": "Yes.\nAnything else?"},
        {"prompt": "Why?", "dSFT": "&", "dDPO": ""},
    ]
    table = figures.before_after_table(rows, caption="Same <prompts>")
    assert "<script" not in table and "&lt;script&gt;no" in table and "2 &lt; 3?" in table
    assert table.count("<tr>") == 3 and table.count("<td") == 6
    assert re.findall(r'<th scope="col">(\w+)</th>', table) == ["prompt", "dSFT", "dDPO"]
    assert "<caption>Same &lt;prompts&gt;</caption>" in table
    assert "Yes.\nAnything else?" in table and "white-space:pre-wrap" in table


HOSTILE_NAMES = [
    "$x$ of $\\href{a}{b}$",
    "costs $5 or $6",
    "<b>bold</b> & co",
    "_underscore",
    "half \ud800 and \x00 and \x1b[31m",
    "two\nlines \u2028 and \u202e turned",
    "a" * 200_000,
]
NAMED = {
    "loss_curve": lambda name: figures.loss_curve({name: {1: 1.0, 2: 0.5}}),
    "length_histogram": lambda name: figures.length_histogram({name: [1, 2, 3]}),
    "rating_heatmap": lambda name: figures.rating_heatmap([name], [name], [[1.0]]),
    "score_bars": lambda name: figures.score_bars([name], [5.0], [(4.0, 6.0)]),
    "category_radar": lambda name: figures.category_radar([name, "b", "c"], {name: [1, 2, 3]}),
    "difference_intervals": lambda name: figures.difference_intervals({name: (1, 0.5, 2)}),
    "interval_curves": lambda name: figures.interval_curves(
        {name: {1: (1, 0.5, 2)}}, xlabel="epoch", ylabel="score"
    ),
}


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name[:12]))
@pytest.mark.parametrize("kind", NAMED)
def test_a_name_from_data_is_drawn_as_text_and_never_as_mathematics(kind, name):
    fig = NAMED[kind](name)
    assert len(figures.figure_html(fig, alt=name[:50], caption="A caption.").encode()) < 220_000
    [shown, *_] = [
        text
        for text in fig.findobj(lambda artist: isinstance(artist, Text))
        if text.get_text() in (figures.plain_label(name), figures.plain_label(name, 30))
    ]
    assert shown._preprocess_math(shown.get_text())[1] is False


def test_a_plain_label_shows_the_name_shortened_and_in_one_line():
    assert figures.plain_label("dSFT") == "dSFT"
    assert figures.plain_label("two\n lines") == "two lines"
    assert figures.plain_label("half \ud800") == "half \ufffd"
    assert len(figures.plain_label("a" * 100)) == 60 and figures.plain_label("a" * 60) == "a" * 60


def test_two_models_of_one_name_are_two_bars():
    axes = figures.score_bars(["m", "m"], [5.0, 7.0], [(4.5, 5.5), (6.5, 7.25)]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [5.0, 7.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["m", "m"]


def test_more_series_than_colours_still_differ_in_look():
    fig = figures.loss_curve({f"model {n}": {1: n, 2: n} for n in range(20)})
    looks = {(line.get_color(), line.get_marker()) for line in fig.axes[0].lines}
    assert len(looks) == 20


def test_a_table_holds_text_that_no_file_can_hold_and_none_without_rows():
    table = figures.before_after_table([{"prompt": "half \ud800\x00", "m": "a\tb\n"}], caption="c")
    assert "half \ufffd\ufffd" in table and "a\tb\n" in table and table.encode()
    with pytest.raises(HandbookError, match="at least one row"):
        figures.before_after_table([], caption="c")
