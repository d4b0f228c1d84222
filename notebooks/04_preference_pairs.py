# %% [markdown]
# # Preference pairs: best against random
#
# Four models have answered each prompt, and a judge has rated every answer. dDPO cannot read ratings. It reads
# *preference pairs*: one chosen answer and one rejected. A few small decisions lead from ratings to pairs, and the public
# record of Zephyr {cite:p}`tunstall2023zephyr` shows how much depends on them. The published pairs are not made as the
# paper says, one seed in the wrong place undid a random choice, and one comparison operator turned ones into tens. In
# this chapter you write the *binariser*, the function that makes the pairs, and the rest of the chapter runs on it.

# %% [markdown]
# ## What you will be able to do
#
# 1. Turn four ratings into a score and four scores into one pair, and account for every row.
# 2. Say why the paper pairs the best answer with a *random* lower one rather than the worst, and compute the gap of
#    scores in each case.
# 3. Make each pair depend on its own row alone, and show where the published ones do not.
# 4. Compare five strategies on the same feedback: what changes, what ties, and what a few faulty grades do.
# 5. Audit any preference set, and find the test questions that have leaked into it.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (`feedback` and `preferences` take files of your own)
# and import what follows.

# %% tags=["hide-input"]
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% tags=["parameters", "hide-input"]
scale = "miniature"
seed = 0
dialogues = ""
feedback = ""
preferences = ""
base_model = ""
runs = ""
settings = {}

# %% tags=["hide-input"]
import hashlib
import itertools
import os
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
from IPython.display import Markdown, display

from zephyr_utils import exercises, figures, lessons, published, training
from zephyr_utils.ablations import catalogue, measurements
from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.data.filtering import decontaminate
from zephyr_utils.data.records import ASPECTS, load_records
from zephyr_utils.evaluation import load_rows
from zephyr_utils.evaluation.intervals import bootstrap_interval, paired_difference
from zephyr_utils.explorers.pair_browser import PairBrowser
from zephyr_utils.miniature.teacher import OPENINGS
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import PAIRS, Pipeline
from zephyr_utils.preferences import (
    STRATEGIES, audit, binarize, compare_strategies, mean_rating, overall_rating,
)
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## The real thing
#
# First a pair that people really train on, from LLaMA-Factory's demonstration set for DPO. The prompt:

# %%
real_pair = published.published_record("preference_pair")
print(real_pair.record["prompt"])
print(f"\n{real_pair.attribution}")

# %% tags=["remove-input"]
lessons.predict(
    "One answer is a single sentence. The other opens with *Hello! I'd be happy to "
    "help*, gives a result, and closes with an offer to answer more questions. Which "
    "is the chosen one, and is it right?",
    [
        "the short one, and it is right",
        "the short one, although it is wrong too",
        "the friendly one, and it is right",
        "the friendly one, although it is wrong too",
    ],
    1,
    key="real-pair",
)

# %% tags=["hide-output"]
for side in ("chosen", "rejected"):
    print(f"{side}: {real_pair.record[side][-1]['content']}\n")
print(f"Python says: {0xB3A9:b}")

# %% tags=["remove-input"]
lessons.explain(
    "Both are wrong; the chosen one only in its last digits. *Chosen* means better "
    "than the other answer, not good: a pair teaches a direction. Here the friendly "
    "answer is further from the truth; in other pairs friendliness may be what "
    "decides. A model sees the text and the label, never the reason.",
    key="real-pair",
)

# %% [markdown]
# ## From ratings to a pair
#
# Now the feedback of this scale. A row is a prompt (`instruction`) and its `completions`. Each completion has ratings
# from 1 to 5 in four aspects, written as *strings*, and an overall grade from 1 to 10 that closed the judge's critique.

# %%
# ready-made pairs come without feedback: the miniature's is read
source = Pipeline(runs=runs, seed=seed) if pipeline.preferences else pipeline
loaded = source.load("feedback", "feedback")
rated = loaded.records
print(
    f"{loaded.n_read:,} rows read = "
    f"{len(rated):,} records + {len(loaded.set_aside):,} set aside"
)

# %%
def look(row):
    print(row["instruction"][:300])
    for answer in row["completions"]:
        marks = [
            answer["annotations"].get(aspect, {}).get("Rating", "-")
            for aspect in ASPECTS
        ]
        print(
            f"  {answer['model']:12s} {' '.join(marks)}  grade "
            f"{overall_rating(answer)!s:>4}  {answer['response'][:50]!r}"
        )


look(rated[0])

# %% [markdown]
# The four ratings are instruction following, honesty, truthfulness and helpfulness; their mean is the paper's score
# (`mean_rating`, the exercise of [Chapter 03](03_ai_feedback)). An aspect marked "N/A" is left out of the sum *and* of
# the count. As a zero it would punish an answer for a question that does not apply to it.
#
# ### Chosen and rejected
#
# The paper defines the pair twice. Section 3: save "the highest scoring response as $y_w$ and a random lower scoring
# prompt [sic] as $y_l$". Section 4.1: "the highest mean score as the 'chosen' response and one of the remaining three
# at random as 'rejected'". With scores $s_1, \dots, s_4$:
#
# $$
# \begin{aligned}
# w &\in \arg\max_i s_i, \\
# l &\sim \mathrm{Uniform}\{\, i : s_i < s_w \,\} && \text{(section 3), or} \\
# l &\sim \mathrm{Uniform}\{\, i : i \neq w \,\} && \text{(section 4.1)} .
# \end{aligned}
# $$ (eq-04-pair)
#
# The two differ where another answer has the *same* score as the best. We follow section 3 and return to ties below.

# %% [markdown]
# ```{exercise} One pair from four scores
# :label: ex-04-choose-pair
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `choose_pair(scores, rng)`. Return `(chosen, rejected)`, the indices of the two answers in the list. The chosen
# one has the highest score. The rejected one is a random *lower* one, drawn with the generator `rng`, a `random.Random`.
# Return None where there is none.
# ```

# %% tags=["exercise"]
def choose_pair(scores, rng):
    ...


exercises.check_choose_pair(choose_pair)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Find the best index first: `scores.index(max(scores))`. Then list the indices of lower scores.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `rng.choice` raises an IndexError on an empty list, so check before you draw.
# ```
#
# ````{solution} ex-04-choose-pair
# :class: dropdown
# ```python
# def choose_pair(scores, rng):
#     best = scores.index(max(scores))
#     lower = [place for place, score in enumerate(scores) if score < scores[best]]
#     return (best, rng.choice(lower)) if lower else None
# ```
# ````

# %%
choose_pair = exercises.yours(choose_pair, exercises.check_choose_pair)
scores = [mean_rating(answer) for answer in rated[0]["completions"]]
print("scores:", scores)
print("three draws:", [choose_pair(scores, random.Random(n)) for n in range(3)])

# %% [markdown]
# ### A whole file
#
# For a file there is one more decision: where does `rng` come from? Let each row have a generator of its own, seeded
# by a hash of a seed and the prompt. Then a pair depends only on its row, and the file can be split, sorted or
# extended without changing it.

# %%
def generator_of(prompt, seed=0):
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))

# %% [markdown]
# ```{exercise} Write the binariser
# :label: ex-04-binarise
#
# **Difficulty** ●●●●○ · **Minutes** 30
#
# Write `binarise(rows, seed)` for rows of feedback as above. Return a list with one entry per row, in order: the indices
# `(chosen, rejected)` among its `completions`, or None. The score is the mean of the aspects rated with a number; an
# answer without any is left out. Chosen is an answer with the highest mean, rejected a random *lower* one. The same
# row and seed must give the same pair whichever rows surround it, and different prompts must not share their draws.
# ```

# %% tags=["exercise"]
def binarise(rows, seed):
    ...


exercises.check_binarise(binarise)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Keep the scores in a dictionary from index to mean, so that answers without a mean are simply missing from it.
# `mean_rating(answer)` gives the mean, or None.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `generator_of(row["instruction"], seed)` in every row. A generator seeded once per file makes a pair depend on the
# rows before it; `random.Random(seed)` in every row draws the same number each time.
# ```
#
# ````{solution} ex-04-binarise
# :class: dropdown
# ```python
# def pair_of(row, seed):
#     means = {n: mean_rating(a) for n, a in enumerate(row["completions"])}
#     means = {n: mean for n, mean in means.items() if mean is not None}
#     rng = generator_of(row["instruction"], seed)
#     order = rng.sample(list(means), len(means))  # decides between equal best ones
#     best = max(order, key=means.get, default=None)
#     lower = [n for n in order if means[n] < means[best]]
#     return (best, rng.choice(lower)) if lower else None
#
# def binarise(rows, seed):
#     return [pair_of(row, seed) for row in rows]
# ```
# ````

# %% [markdown]
# The chapter goes on with your binariser if it passed. The package's `binarize` makes the same decisions and gives a
# reason for each row without a pair. The chosen answers must score the same in both; the draws agree too if you use
# `generator_of` in the order of the solution.

# %%
binarise = exercises.yours(binarise, exercises.check_binarise)
places = dict(enumerate(binarise(rated, 0)))
made = binarize(rated, score="mean", rejected="random", ties="drop", seed=0)
print(made.report())

# %%
def chosen_score(number):
    return mean_rating(rated[number]["completions"][places[number][0]])

def texts(number):
    return tuple(
        rated[number]["completions"][n]["response"] for n in places[number]
    )

paired = [number for number, pair in places.items() if pair]
assert paired == list(made.rows), "the two make pairs of different rows"
numbered = list(zip(made.rows, made.pairs, strict=True))
assert all(chosen_score(n) == pair["score_chosen"] for n, pair in numbered)
same = sum(
    texts(n) == (pair["chosen"][-1]["content"], pair["rejected"][-1]["content"])
    for n, pair in numbered
)
print(f"{same:,} of {len(made):,} pairs are the same in both")

# %% [markdown]
# ## Why a random answer, and not the worst?
#
# The paper gives one sentence (section 4.1): random selection "to encourage diversity and make the DPO objective more
# challenging". Both can be measured. First the challenge. Let $L$ be the set of lower answers of a row. Against a random
# one the expected gap of scores is
#
# $$
# \mathbb{E}[s_w - s_l] = s_w - \frac{1}{|L|} \sum_{i \in L} s_i \;\le\; s_w - \min_{i \in L} s_i ,
# $$ (eq-04-gap)
#
# never more than against the worst, and less as soon as the lower answers differ.

# %% [markdown]
# ```{exercise} The expected gap
# :label: ex-04-expected-gap
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `expected_gap(scores)` for the scores of one row: return $\mathbb{E}[s_w - s_l]$, or None where no answer scores
# lower than the best.
# ```

# %% tags=["exercise"]
def expected_gap(scores):
    ...


exercises.check_expected_gap(expected_gap)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# List the lower scores first. Answers that tie with the best are not among them.
# ```
#
# ````{solution} ex-04-expected-gap
# :class: dropdown
# ```python
# def expected_gap(scores):
#     lower = [score for score in scores if score < max(scores)]
#     return max(scores) - sum(lower) / len(lower) if lower else None
# ```
# ````

# %%
expected_gap = exercises.yours(expected_gap, exercises.check_expected_gap)
means_of_rows = [
    [m for answer in row["completions"] if (m := mean_rating(answer)) is not None]
    for row in rated
]
found_gaps = [expected_gap(scores) for scores in means_of_rows if len(scores) > 1]
expected = np.mean([gap for gap in found_gaps if gap is not None])
print(f"expected gap against a random lower answer: {expected:.3f} points of 1 to 5")

# %% tags=["remove-input"]
lessons.predict(
    "How much wider is the mean gap against the *worst* answer?",
    ["by less than a third", "by a third to two thirds", "by more than two thirds"],
    key="gap",
)

# %% tags=["hide-output"]
lowest = binarize(rated, rejected="lowest")
gaps = {
    name: np.array([pair["score_chosen"] - pair["score_rejected"] for pair in pairs])
    for name, pairs in (("random", made), ("worst", lowest))
}
for name, values in gaps.items():
    print(
        f"{name:7s} mean gap {values.mean():.3f}, "
        f"below half a point: {100 * (values < 0.5).mean():.1f} %"
    )
wider = gaps["worst"].mean() / gaps["random"].mean() - 1
also_worst = np.mean(
    [a["score_rejected"] == b["score_rejected"] for a, b in zip(made, lowest)]
)

# %% tags=["remove-input"]
lessons.explain(
    f"By {wider:.0%}: {gaps['worst'].mean():.2f} points against "
    f"{gaps['random'].mean():.2f}. A random lower answer scores as low as the worst in "
    f"{also_worst:.0%} of the pairs, which keeps the difference moderate. The "
    "challenging pairs, those within half a point, are "
    f"{(gaps['random'] < 0.5).mean():.0%} of the random set and "
    f"{(gaps['worst'] < 0.5).mean():.0%} of the other. Draw and formula agree "
    f"({gaps['random'].mean():.3f} and {expected:.3f}) up to sampling noise.",
    key="gap",
    answer=int(np.searchsorted([1 / 3, 2 / 3], wider)),
)

# %% tags=["hide-input"]
fig, [axes] = figures.figure(height=3.2)
for n, (name, values) in enumerate(gaps.items()):
    heights, edges, _ = axes.hist(
        values, np.arange(0.125, 4.2, 0.25), histtype="step", linewidth=2,
        color=figures.COLOURS[n], linestyle=figures.LINE_STYLES[n],
    )
    at = int(heights.argmax())
    axes.annotate(
        f"{name} rejected", (edges[at], heights[at]), xytext=(0, 4),
        textcoords="offset points", color=figures.COLOURS[n],
    )
axes.set(xlabel="gap of mean ratings, chosen minus rejected", ylabel="pairs")
axes.margins(y=0.12)
figures.show(
    fig,
    alt=(
        "Two outlines over the gap from 0 to 4 points. Pairs closer than half a point: "
        f"{(gaps['random'] < 0.5).sum()} against a random answer, "
        f"{(gaps['worst'] < 0.5).sum()} against the worst."
    ),
    caption=(
        "The same chosen answers against two kinds of rejected ones. "
        "On the left pairs of two good answers, on the right a good one and a bad one."
    ),
)

# %% [markdown]
# Now the diversity: whose answers are rejected? The *entropy* of that distribution measures it, in bits: 2 bits if the
# four models have equal shares, 0 if all rejected answers come from one.

# %%
def bits(counts):
    shares = np.array(list(counts.values())) / sum(counts.values())
    return float(-(shares * np.log2(shares)).sum())

both = {"random": made, "worst": lowest}
rejected_by = {
    name: Counter(pair["rejected_model"] for pair in pairs)
    for name, pairs in both.items()
}
for name, counts in rejected_by.items():
    print(
        f"{name:7s} {bits(counts):.2f} bits ",
        *(f"{model} {count:,}" for model, count in counts.most_common(4)),
    )

# %% [markdown]
# You should see a wider gap against the worst, a draw close to its expectation, and more bits for *random*.

# %%
if miniature_as_shipped:
    assert gaps["worst"].mean() > 1.1 * gaps["random"].mean(), (
        "the worst is no further away: was rejected='lowest' given?"
    )
    assert abs(gaps["random"].mean() - expected) < 0.06, (
        "the draw is off its expectation: is the generator re-seeded?"
    )
    assert bits(rejected_by["random"]) > bits(rejected_by["worst"]), (
        "a random rejected answer has to be more varied"
    )

# %% [markdown]
# Whether the random answer also gives the better *model* can only be seen by training on both: see *A look ahead*, at
# the end of this chapter.
#
# ## A seed in the wrong place
#
# The first published set of pairs, on which Zephyr was trained, drew its rejected answers at random as well. But
# `random.seed(42)` stood *inside* the function that is called for each row. In short: draw one of the four, and draw
# again while it is the chosen one.

# %% tags=["remove-input"]
lessons.predict(
    "The best answer may be at position 0, 1, 2 or 3. How many of them can "
    "the *rejected* answer have, over the whole data set?",
    ["one", "two", "three", "all four"],
    1,
    key="seed",
)

# %% tags=["hide-output"]
def drawn_in_version_1(best):
    rng = random.Random(42)  # re-seeded in every row: that is the fault
    while (place := rng.choice([0, 1, 2, 3])) == best:
        pass
    return place

drawn = {best: drawn_in_version_1(best) for best in range(4)}
for best, place in drawn.items():
    print(f"best answer at position {best}: rejected at position {place}")
never = sorted(set(range(4)) - set(drawn.values()))

# %% tags=["remove-input"]
lessons.explain(
    "Every row draws the *same* numbers: the first answer, and where that one is the "
    f"chosen one, the third. Positions {' and '.join(map(str, never))} are never "
    "rejected in the whole set. The second version of the script has one generator for "
    "the whole file, which reaches all four. In UltraFeedback the models are in random "
    "order, so the fault cost variety within rows. In a file sorted by model it would "
    "have excluded two models altogether.",
    key="seed",
)

# %% [markdown]
# `binarize` can reproduce both versions. The rejected answers by position:

# %%
def places_rejected(pairs):
    counts = Counter()
    for number, pair in zip(pairs.rows, pairs.pairs):
        answers = [
            (answer["model"], answer["response"])
            for answer in rated[number]["completions"]
        ]
        rejected = (pair["rejected_model"], pair["rejected"][-1]["content"])
        counts[answers.index(rejected)] += 1
    return [counts[place] for place in range(4)]

as_in_the_script = {"score": "overall", "ties": "keep", "seed": 42}
for version in ("published-v1", "published-v2"):
    pairs = binarize(rated, **as_in_the_script, randomness=version)
    print(version, places_rejected(pairs))

# %% [markdown]
# ### Does a pair depend on its neighbours?
#
# Version 2 seeds once and goes on drawing from row to row. That is random enough, but now a row's pair depends on all the
# rows *before* it.

# %% tags=["remove-input"]
lessons.predict(
    "Under version 2, take away the first row of the file. How many of the other rows "
    "get another pair?",
    ["nearly none", "about a quarter", "about two thirds", "nearly all"],
    key="neighbours",
)

# %% tags=["hide-input"]
def pairs_of(rows, **options):
    pairs = binarize(rows, **options)
    return {id(rows[number]): pair for number, pair in zip(pairs.rows, pairs.pairs)}

def share_changed(rows, **options):
    before, after = pairs_of(rated, **options), pairs_of(rows, **options)
    kept = before.keys() & after.keys()
    return sum(before[row] != after[row] for row in kept) / len(after)

# %% tags=["hide-output"]
shuffled = random.Random(1).sample(rated, len(rated))
version_2 = as_in_the_script | {"randomness": "published-v2"}
changed_share = {}
for name, options in (("version 2", version_2), ("a seed for each row", {})):
    changed_share[name] = (
        share_changed(rated[1:], **options), share_changed(shuffled, **options),
    )
    gone, moved = changed_share[name]
    print(
        f"{name:20s} first row gone: {100 * gone:5.1f} %   "
        f"shuffled: {100 * moved:5.1f} %"
    )
gone, moved = changed_share["version 2"]

# %% tags=["remove-input"]
lessons.explain(
    f"{gone:.1%} of them, and {moved:.0%} if the file is shuffled. With one row gone, "
    "the two streams of random numbers are shifted against each other. But where one "
    "of them draws again and the other does not, the shift can close, and from there "
    "on the two agree for good. In another *order* up to two pairs in three change, "
    "since three answers are equally likely. With a seed for each row nothing changes "
    "in either case. Such pairs can be made in parts, on ten machines, or next year "
    "from a longer file, which is why `binarize` and your binariser seed by prompt.",
    key="neighbours",
    answer=int(np.searchsorted([0.1, 0.45, 0.85], gone)),
)

# %% [markdown]
# ## Ties
#
# Which rows tie depends on the score. The mean of four ratings has seventeen possible values, the overall grade ten.

# %% tags=["remove-input"]
lessons.predict(
    "Which of the two scores ties more often?",
    ["the mean of four ratings", "the overall grade"],
    key="ties",
)

# %% tags=["hide-output"]
def top_is_shared(row, rate):
    scores = [s for answer in row["completions"] if (s := rate(answer)) is not None]
    return scores.count(max(scores, default=0)) > 1

tie_share = {}
for name, rate in (("mean", mean_rating), ("overall", overall_rating)):
    kept = binarize(rated, score=name, ties="keep").pairs
    ties = sum(pair["score_chosen"] == pair["score_rejected"] for pair in kept)
    tie_share[name] = ties / max(len(kept), 1)
    shared = np.mean([top_is_shared(row, rate) for row in rated])
    print(
        f"{name:8s} top shared in {100 * shared:.1f} % of rows; "
        f"ties among the pairs if kept: {100 * tie_share[name]:.1f} %"
    )
tied_more = max(tie_share, key=tie_share.get)

# %% tags=["remove-input"]
lessons.explain(
    f"Here the {tied_more} ties more often"
    + (
        ", although it has more values: good answers crowd together at the top of a "
        "scale of five, while noise spreads their overall grades. Count ties; do not "
        "infer them from the number of values."
        if tied_more == "mean"
        else ", as its smaller number of values suggests. It need not be so: what "
        "counts is how the scores crowd together, so count ties rather than infer "
        "them."
    ),
    key="ties",
    answer=int(tied_more == "overall"),
)

# %% [markdown]
# ### What a tie teaches
#
# Is a tied pair merely useless? Let $m$ be its [reward margin](06_reward_margins), which DPO's loss depends on. Which of
# the two answers is called chosen is a coin toss, so the expected loss and its slope are
#
# $$
# \begin{aligned}
# L(m) &= -\tfrac12 \log \sigma(m) - \tfrac12 \log \sigma(-m), \\
# L'(m) &= \tfrac12\,\sigma(m) - \tfrac12\,\sigma(-m) = \sigma(m) - \tfrac12 ,
# \end{aligned}
# $$ (eq-04-tie)
#
# which is zero at $m = 0$ only. A tie pulls the rewards of the two answers *together*. Where the judge really finds them
# equally good, that is a lesson. Where the scale ran out at ten, it is a wrong one.

# %%
def tie_loss(m):
    return 0.5 * np.logaddexp(0, -m) + 0.5 * np.logaddexp(0, m)

for m in (-2.0, 0.0, 2.0):
    slope = (tie_loss(m + 1e-5) - tie_loss(m - 1e-5)) / 2e-5
    formula = 1 / (1 + np.exp(-m)) - 0.5
    print(
        f"margin {m:+.0f}: loss {tie_loss(m):.4f}, "
        f"slope {slope:+.4f}, by the formula {formula:+.4f}"
    )
    assert abs(slope - formula) < 1e-6, "the slope is not sigma(m) - 1/2"

# %% [markdown]
# ### How noisy is the judge?
#
# In the miniature two models often give the same answer to the same prompt, word for word, and the judge rates it
# twice without knowing. Any difference between the scores of such *twins* is noise. Independent noise of standard
# deviation $\tau$ on each score gives their difference the standard deviation $\sqrt2\,\tau$.

# %%
every_two = [
    two for row in rated for two in itertools.combinations(row["completions"], 2)
]
twins = [(a, b) for a, b in every_two if a["response"] == b["response"]]
noise = {}
for name, rate, width in (("mean", mean_rating, 4), ("overall", overall_rating, 9)):
    apart = np.array(
        [rate(a) - rate(b) for a, b in twins if None not in (rate(a), rate(b))]
    )
    noise[name] = apart.std() / np.sqrt(2) if len(apart) else float("nan")
    print(
        f"{name:8s} {len(apart):,} twins, {(apart == 0).sum():,} rated alike;",
        f"noise {noise[name]:.2f} points = {100 * noise[name] / width:.1f} % of the "
        "scale",
    )

# %% [markdown]
# Averaging four ratings with independent errors halves their noise. A steadier score is not always nearer to the
# truth, as [Chapter 03](03_ai_feedback) measures.
#
# Twins also become *pairs*: an answer can be chosen over itself when its two ratings differ. In the loss such a pair
# cancels, so training sets it aside and counts it. (The pipeline has removed leaked prompts before; see *Contamination*
# below.)

# %%
train_pairs, held_out_pairs, fitted = pipeline.split_pairs()
print(fitted.report())
print(
    f"{len(train_pairs):,} to train on, "
    f"{len(held_out_pairs):,} held out by a hash of their prompt"
)

# %% [markdown]
# ## Five strategies side by side
#
# A *pairing strategy* combines score (mean or overall), rejected answer (random, lowest or all) and randomness. All five
# read the same feedback. The last is the published script: overall grade, ties kept, one seed per file.

# %% tags=["remove-input"]
lessons.predict(
    "Replace the paper's rule (highest mean, a random one of equals) by the published "
    "script's (highest overall grade, the first of equals). In how many rows is "
    "another answer chosen?",
    ["fewer than one in ten", "a tenth to a half", "more than half"],
    key="strategies",
)

# %% tags=["hide-output"]
strategies = compare_strategies(rated)
strategies

# %%
changed, of = strategies.changed["mean, random", "as published"]
agreement = 1 - changed / max(of, 1)
not_best, among = audit(made, feedback=rated).chosen_not_best["overall"]
if miniature_as_shipped:
    assert 0.4 < agreement < 0.95, "were both made from the same rows?"
    assert strategies.changed["mean, random", "mean, lowest"][0] == 0, (
        "the rejected answer must not change the chosen one"
    )
within, of_two = strategies.changed["overall, random", "as published"]

# %% tags=["remove-input"]
lessons.explain(
    f"Between the mean and the published strategy {1 - agreement:.0%} of the chosen "
    "answers change; on the real UltraFeedback Argilla found "
    f"{lessons.published('about 50 %', 'dataset card of Argilla')}. The three "
    "strategies by the mean choose the same answers, since they differ only in what is "
    "rejected. Yet the two strategies by the overall grade differ in "
    f"{within / max(of_two, 1):.0%}: where the top is shared, one takes a random best "
    "answer and the other the first in the file. So part of the difference is a toss "
    "among equals. Apart from the toss, the answer chosen by the mean is *not among "
    f"the best* by the overall grade in {not_best / max(among, 1):.0%} of the pairs.",
    key="strategies",
    answer=int(np.searchsorted([0.1, 0.5], 1 - agreement)),
)

# %% [markdown]
# ### The faulty tens
#
# [Chapter 03](03_ai_feedback) found tens that ought to be ones, and the `>` that made them. UltraFeedback's repair looks
# at the mean of the four aspects. If it is at most 2, the ten was a one; above 4, the ten is kept; in between, the answer
# was judged again.

# %% [markdown]
# ```{exercise} Repair the tens
# :label: ex-04-faulty-ten
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `repaired(overall, mean)` by that rule, for an overall grade and the mean of the aspects. Return the grade as it
# should be, or None for a ten that has to be judged again.
# ```

# %% tags=["exercise"]
def repaired(overall, mean):
    ...


exercises.check_faulty_ten(repaired)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Only a ten is ever touched. Three cases remain: mean at most 2, above 4, and between.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# "At most 2" includes 2 and "above 4" excludes 4: the fault you are repairing was a `>` for a `>=`.
# ```
#
# ````{solution} ex-04-faulty-ten
# :class: dropdown
# ```python
# def repaired(overall, mean):
#     if overall != 10 or mean > 4:
#         return overall
#     return 1.0 if mean <= 2 else None
# ```
# ````

# %%
repaired = exercises.yours(repaired, exercises.check_faulty_ten)
tens = [
    (number, mean)
    for number, row in enumerate(rated)
    for answer in row["completions"]
    if overall_rating(answer) == 10 and (mean := mean_rating(answer)) is not None
]
verdicts = Counter(repaired(10.0, mean) for _, mean in tens)
faulty = [number for number, mean in tens if repaired(10.0, mean) == 1]
print(
    f"{len(tens):,} tens with ratings: {verdicts[10.0]:,} stand, {verdicts[1.0]} were "
    f"ones, {verdicts[None]:,} would be judged again"
)
if faulty:
    look(rated[faulty[0]])

# %% tags=["remove-input"]
lessons.predict(
    "Few tens are faulty. When the overall grade decides, how many of *these* become "
    "the chosen answer of a pair?",
    ["about a quarter, as any answer would", "about half", "most of them", "none"],
    key="tens",
)

# %% tags=["hide-output"]
found = {
    name: audit(binarize(rated, **STRATEGIES[name]), feedback=rated)
    for name in ("mean, random", "as published")
}
for name, report in found.items():
    print(
        f"{name:14s} pairs that choose a faulty ten: "
        f"{report.tens.n_chosen} (of {report.tens.n_faulty} faulty tens)"
    )
chosen_tens = found["as published"].tens.n_chosen
chosen_share = chosen_tens / max(len(faulty), 1)
one_in = sum(len(row["completions"]) for row in rated) // max(len(faulty), 1)

# %% tags=["remove-input"]
lessons.explain(
    f"{chosen_tens} of {len(faulty)}, or {chosen_share:.0%}; "
    f"{found['mean, random'].tens.n_chosen} under the mean. One answer in {one_in} is "
    "affected, which seems little. But the *maximum* seeks it out: no grade in the row "
    "is above ten, so a faulty ten loses only to a true one. Under the mean four "
    "ratings would have to fail at the same time.",
    key="tens",
    answer=3 if not chosen_tens else int(np.searchsorted([0.375, 0.6], chosen_share)),
)

# %%
if miniature_as_shipped:
    assert found["mean, random"].tens.n_chosen == 0, (
        "the mean of the ratings chose a faulty ten: is score='mean' given?"
    )
    assert found["as published"].tens.n_chosen > 0.4 * len(faulty), (
        "the overall grade should choose most faulty tens"
    )

# %% [markdown]
# Taking the best of several noisy numbers selects the luckiest number, not the best answer. This is the **winner's curse**;
# [Chapter 11](11_sampling_again) measures it.
#
# ### Browse them
#
# One prompt at a time: four answers, their ratings, and what each strategy makes of them. Filter by disagreement or by
# faulty tens; search in prompts and answers. It works on this page without a kernel.

# %%
evenly = list(range(0, len(rated), max(len(rated) // 80, 1)))
PairBrowser(rated, shown=sorted({*evenly, *faulty[:10]}))

# %% [markdown]
# ## The audit
#
# Before training on any preference set, yours or a famous one, count what is in it. One number deserves an exercise:
# how often would a judge be right that only counts characters? **Length bias**, a preference for the longer answer, is
# the best-known bias of judges, human and model alike {cite:p}`dubois2024length`.

# %% [markdown]
# ```{exercise} A judge that only counts
# :label: ex-04-length-bias
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `length_bias(pairs)` for a list of (chosen, rejected) texts. Return the share of pairs whose chosen text is the
# longer one, among those that differ in length; 0.5 where none differ.
# ```

# %% tags=["exercise"]
def length_bias(pairs):
    ...


exercises.check_length_bias(length_bias)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Two counts: pairs with `len(chosen) > len(rejected)`, and pairs with `!=`.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# The second count can be zero.
# ```
#
# ````{solution} ex-04-length-bias
# :class: dropdown
# ```python
# def length_bias(pairs):
#     longer = sum(len(chosen) > len(rejected) for chosen, rejected in pairs)
#     unequal = sum(len(chosen) != len(rejected) for chosen, rejected in pairs)
#     return longer / unequal if unequal else 0.5
# ```
# ````

# %% [markdown]
# `audit` reads any preference records. Given the feedback, it also says what became of the faulty tens and how far the
# choice depends on the score. Here it reads the set that the next chapter trains on.

# %% tags=["remove-input"]
lessons.predict(
    "How often is the chosen answer the *longer* one in this set? A judge without "
    "length bias would give one half.",
    ["clearly less than half", "about half", "clearly more than half"],
    key="length",
)

# %% tags=["hide-output"]
pairs = load_records(pipeline.pairs().folder / "pairs.parquet", "preference").records
report = audit(pairs, feedback=None if pipeline.preferences else rated)
report

# %%
length_bias = exercises.yours(length_bias, exercises.check_length_bias)
sides = [(p["chosen"][-1]["content"], p["rejected"][-1]["content"]) for p in pairs]
assert abs(length_bias(sides) - report.length_bias) < 1e-9, "yours and the audit's"
longer = [len(c) > len(r) for c, r in sides if len(c) != len(r)]
by_length = bootstrap_interval(longer) if longer else None
print("a judge that only counts characters is right in", by_length or "no pair")
if miniature_as_shipped:
    assert report.n_ties == 0 == report.n_reversed, (
        "ties were to be dropped: see Pipeline.pairs()"
    )
lower_end, upper_end = (by_length.low, by_length.high) if by_length else (0.5, 0.5)

# %% tags=["remove-input"]
lessons.explain(
    f"The longer answer is chosen in {report.length_bias:.1%} of the pairs that differ "
    f"in length (interval {lower_end:.3f} to {upper_end:.3f}); in the set against the "
    f"*worst* answers it is {audit(lowest).length_bias:.1%}. So length bias depends on "
    "the pairing strategy too, not only on the judge. The share is also the accuracy "
    "of a rule that only counts characters: a reward model that does no better may "
    "have learned nothing else.",
    key="length",
    answer=0 if upper_end < 0.5 else 2 if lower_end > 0.5 else 1,
)

# %% [markdown]
# ### The same audit on a real set
#
# Stored with the package: the audit of 800 pairs from `trl-lib/ultrafeedback_binarized`, a copy of 62,135 pairs that
# TRL's own examples train on. (With `ZEPHYR_REAL_DATA` set to a folder of your own that has an
# `ultrafeedback_binarized_sample`, the cell audits that instead.)

# %%
folder = Path(os.environ.get("ZEPHYR_REAL_DATA", "nowhere"))
files = sorted(folder.glob("ultrafeedback_binarized_sample/*.jsonl"))
if files:
    print(audit(p for file in files for p in load_records(file, "preference")))
else:
    stored = published.published_table("real_pairs_audit")
    display(Markdown(markdown_table(
        ["what", "figure", "share or range"],
        [(row["what"], row["figure"], row["share"] or "") for row in stored.rows],
        numbers=(1,),
    )))

# %% [markdown]
# It shows three decisions of this chapter: ties are kept, and neither equal nor empty texts are removed.

# %% [markdown]
# ## Contamination
#
# UltraFeedback took prompts from TruthfulQA, a test set, and some of its questions occur in other sources too. So
# Zephyr's TruthfulQA score in the paper is contaminated. The second version of the published set dropped that source and
# every prompt that *equals* a question, letter by letter: 831 prompts in all. Exam questions are hidden among the
# miniature's prompts too: word for word, with another case and punctuation, and inside longer prompts.

# %% [markdown]
# ```{exercise} Find the leak
# :label: ex-04-leak
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# Write `leaked(prompt, question)`. Return True if the words of the question occur in the prompt in the same order and
# without a gap, whatever their case and punctuation, else False. A match must not begin or end in the middle of a word.
# ```

# %% tags=["exercise"]
def leaked(prompt, question):
    ...


exercises.check_leak(leaked)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Reduce both texts to their words: `" ".join(re.findall(r"\w+", text.lower()))`.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `in` also finds *ana or ben* in *ana or benedict*. Put a space on both ends of both texts.
# ```
#
# ````{solution} ex-04-leak
# :class: dropdown
# ```python
# def leaked(prompt, question):
#     def words(text):
#         return " " + " ".join(re.findall(r"\w+", text.lower())) + " "
#     return words(question) in words(prompt)
# ```
# ````

# %% tags=["remove-input"]
lessons.predict(
    "Of the prompts that your function will find, what share does the published rule "
    "(exact equality) find?",
    ["most of them", "about two thirds", "about a third", "none"],
    key="leaks",
)

# %%
leaked = exercises.yours(leaked, exercises.check_leak)
questions = [question["turns"][0] for question in source.questions()]
prompts = [row["instruction"] for row in rated]
exact = {n for n, prompt in enumerate(prompts) if prompt in set(questions)}

# %% [markdown]
# Comparing every question with every prompt would take millions of calls. The package's `decontaminate` looks up runs of
# words (*n-grams*) in a table, so its time does not grow with prompts times questions. Your function then checks what it
# found.

# %% tags=["hide-output"]
clean = decontaminate(prompts, questions)
leaks = {rule: clean.counts[rule] for rule in ("exact", "normalized", "ngram")}
print(clean.report())
confirmed = {
    leak.index
    for leak in clean.removed
    if any(leaked(prompts[leak.index], question) for question in questions)
}
print(f"of {len(clean.removed)} found, {len(confirmed)} are leaks by your function too")
for n in sorted(confirmed)[:6]:
    print(f"  {'exact' if n in exact else '     '} {prompts[n]!r}")
exact_share = len(exact) / max(len(confirmed), 1)
near_misses = len(clean.removed) - len(confirmed)

# %% tags=["remove-input"]
lessons.explain(
    f"Exact equality finds {len(exact)} of {len(confirmed)}, or {exact_share:.0%}. "
    f"{leaks['normalized']} more differ in case and punctuation only, and the rest "
    "have something around them. Case and punctuation are the first things to change "
    "when crawlers and people copy a text. The n-gram rule also reports "
    f"{near_misses} prompts that only share a long run of words with a question. These "
    "near misses cost a few rows of training and are removed as well.",
    key="leaks",
    answer=3 if not exact else 3 - int(np.searchsorted([0.01, 0.5, 0.85], exact_share)),
)

# %% [markdown]
# Is that *all*? In a closed world we can check. The miniature can parse a prompt into the combination it asks for,
# and knows which combinations its exams hold out. It cannot parse prompts that have lost their capitals, so it counts
# fewer leaks than the rules do. What matters is that the rules miss none of them.

# %%
if miniature_as_shipped:
    from zephyr_utils.miniature.world import split_of, understand

    bare = [
        prompt.removeprefix("I have a question for you. ").removesuffix(" Thank you.")
        for prompt in prompts
    ]
    readable = {
        n
        for n, text in enumerate(bare)
        if (known := understand([text])) and known.keys
        and split_of(known.keys[0]) == "exam"
    }
    missed = readable - {leak.index for leak in clean.removed}
    print(f"leaks that the world can read: {len(readable)}; missed: {len(missed)}")
    assert min(leaks.values()) >= 2, (
        "each rule should find something: were they given pipeline.questions()?"
    )
    assert not missed, "a leak got past the rules: print its prompt"

# %% [markdown]
# One limit remains. The same question in other words passes all three rules: they compare words, not meaning.

# %%
asked = "What are the capitals of Kenya and China?"
reworded = "Kenya and China: where does each have its seat of government?"
for prompt in (asked.upper(), reworded):
    found_it = decontaminate([prompt], [asked]).removed
    print(f"{'found    ' if found_it else 'NOT found'} {prompt}")

# %% [markdown]
# ## A look ahead: train on both
#
# *Optional; [Chapter 05](05_ddpo) explains how such a run trains.* Two short dDPO runs start from the same dSFT model,
# on nearly the same prompts: best against random, and best against worst. Each has the learning rate that was best for
# it on development questions. They are the rows `few` and `lowest` of the table in [Chapter 08](08_ablations), trained
# once for both chapters. With one seed and a quarter of the pairs this is a demonstration, not a result.

# %% tags=["remove-input"]
lessons.predict(
    "On held-out pairs against the *worst* answer, which of the two models ranks more "
    "pairs correctly?",
    [
        "the one trained against the worst",
        "the one trained against random answers",
        "the interval includes zero: this run cannot tell",
    ],
    key="both",
)

# %% tags=["hide-input"]
compared = not pipeline.preferences  # from ready-made pairs no second set can be made
kinds = {"random": "few", "worst": "lowest"}
rows_of = {kind: catalogue.get_ablation(row) for kind, row in kinds.items()}
if compared:
    trained = {
        kind: measurements.train(pipeline, row) for kind, row in rows_of.items()
    }
    for kind, run in trained.items():
        rate = catalogue.recipe_of(pipeline, rows_of[kind])["learning_rate"]
        print(
            f"against {kind:7s} {run.results['rows_trained']:,} pairs, learning rate "
            f"{rate:g}, first loss {run.results['first_step_loss']:.4f}"
        )

# %% [markdown]
# A pair is ranked correctly when the difference of log-probabilities, chosen minus rejected, has *grown* since dSFT, that
# is, when the reward margin is positive.

# %% tags=["hide-input"]
def log_ratios(directory, pairs):
    """log p(chosen) - log p(rejected) of each pair, under the directory's model."""
    model, tokenizer = load_model(directory, dtype="float32")
    prepare_tokenizer(tokenizer)
    sides = [
        training.answer_log_probs(model, tokenizer, [pair[side] for pair in pairs])
        for side in ("chosen", "rejected")
    ]
    return (sides[0] - sides[1]).numpy()

def grades_of(row):
    exam = measurements.evaluate_ablation(pipeline, row)
    judged = sorted(
        (line["question_id"], line["turn"], line["score"])
        for line in load_rows(exam.folder / "judgments.jsonl")
    )
    # a question's two turns are one question
    return np.reshape([score for *_, score in judged], (-1, 2)).mean(axis=1)

# %% tags=["hide-input", "hide-output"]
if compared:
    held_out = {
        kind: pipeline.split_pairs(measurements.data_of(pipeline, row))[1]
        for kind, row in rows_of.items()
    }
    before = {
        kind: log_ratios(pipeline.model_directory("dsft"), pairs)
        for kind, pairs in held_out.items()
    }
    right = {
        (model, kind): log_ratios(run.folder / training.MODEL, pairs) > before[kind]
        for model, run in trained.items()
        for kind, pairs in held_out.items()
    }
    differences = {
        f"accuracy, {kind} pairs": paired_difference(
            right["random", kind], right["worst", kind]
        )
        for kind in kinds
    }
    differences["grade of the answers"] = paired_difference(
        grades_of("few"), grades_of("lowest")
    )
    print("trained against random minus trained against worst, with 95 % intervals:")
    for name, difference in differences.items():
        print(f"  {name:22s} {difference}")
    own = differences["accuracy, worst pairs"]
    at_random = differences["accuracy, random pairs"]

# %% [markdown]
# What is rejected decides which *surface cues* separate chosen from rejected answers. How often is the longer answer
# chosen? How often does either side open in a friendly way?

# %% tags=["hide-input"]
signs = {}
for name, pairs_made in both.items():
    opened = {
        side: np.mean([p[side][-1]["content"].startswith(OPENINGS) for p in pairs_made])
        for side in ("chosen", "rejected")
    }
    signs[name] = (audit(pairs_made).length_bias, opened["chosen"], opened["rejected"])
    print(
        f"{name:7s} longer one chosen {100 * signs[name][0]:.0f} %, friendly opening "
        f"in {100 * signs[name][1]:.0f} % of chosen and {100 * signs[name][2]:.0f} % "
        "of rejected answers"
    )

# %% tags=["remove-input"]
lessons.explain(
    "With ready-made pairs there is nothing to compare."
    if not compared
    else f"On pairs against the worst the difference is {own.mean:+.3f}, interval "
    f"{own.low:+.3f} to {own.high:+.3f}: "
    + (
        "not zero, for this seed. "
        if own.low > 0 or own.high < 0
        else "this run cannot tell the two apart. "
    )
    + f"On pairs against random answers it is {at_random.mean:+.3f} "
    f"({at_random.low:+.3f} to {at_random.high:+.3f}). Chapter 08 asks the same "
    "question over several seeds. A model can learn a cue such as length (the longer "
    f"answer is chosen in {signs['random'][0]:.0%} and {signs['worst'][0]:.0%} of the "
    "pairs) instead of what the judge meant. Whether these two did is not tested here.",
    key="both",
    answer=(
        None if not compared
        else 2 if own.low <= 0 <= own.high
        else 0 if own.high < 0
        else 1
    ),
)

# %%
if compared and miniature_as_shipped:
    assert differences["accuracy, random pairs"].mean > -0.1, (
        "trained on random pairs, yet much worse at them: run both again"
    )
    assert differences["grade of the answers"].mean > -1.5, (
        "the run against random answers broke: read 08_ablations/few/log.json"
    )

# %% [markdown]
# ## Paper, card, script and ours
#
# | | paper | data set's card | published script | ours |
# |---|---|---|---|---|
# | chosen | highest mean rating | "highest mean score", later corrected to `overall_score` | highest overall grade, the first of equals | highest mean, a random one of equals |
# | rejected | a random *lower* one (section 3); one of the remaining three (4.1) | a random other | a random other that differs in grade, text or model | a random lower one |
# | ties | not mentioned | not mentioned | kept | dropped and counted |
# | seed | not mentioned | not mentioned | v1: in every row; v2: once per file | a hash of seed and prompt |
# | leaks | not mentioned | TruthfulQA removed (v2) | v2: its source, and exact matches | exact, normalised, word runs |
# | faulty tens | unknown then | unknown then (v1) | v1 was made before the repair of December 2023 | not read: the mean decides |
# | pairs | from 64k prompts | v1 61,966 + 2,000; v2 61,135 + 2,000 | the same | see the audit above |
#
# The published numbers come from the card and the commit history of `ultrafeedback_binarized`; the repair of the tens
# is described in UltraFeedback's README.

# %% [markdown]
# ```{admonition} Common mistakes
# :class: warning
# - **Comparing ratings as strings.** `max("10", "9")` is `"9"`. Convert first, and leave "N/A" out of sum *and* count.
# - **Swapping chosen and rejected.** It trains a worse model without any error message. Look at the audit's row
#   *reversed* first; then read five pairs.
# - **Taking a better score for a good answer.** The best of four bad answers is still chosen. Look at the lowest chosen
#   scores before you trust the set.
# - **Splitting by row.** Decontaminate before pairing, then split by prompt: two rows of one prompt on both sides of the
#   split are a leak.
# - **Rounding scores before counting ties.** It makes ties; compare the scores as they were given.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# - Rated answers (UltraFeedback's schema): set `feedback` above to the file's path, or in a shell
#   `zephyr pairs FEEDBACK.jsonl --output PAIRS.parquet --questions QUESTIONS.jsonl`, which pairs, decontaminates and audits.
# - Ready-made pairs in any of the layouts of [What you can bring](../bring), with scores or without: set `preferences`,
#   and read the audit before anything is trained.
# - With either, ask three questions first. How many ties? How many identical texts? How often is the longer answer chosen?

# %% [markdown]
# ## Recap
#
# 1. *Ratings to score to pair*: [one pair](ex-04-choose-pair), and [your binariser](ex-04-binarise), which agrees with
#    `binarize` on every chosen score.
# 2. *Random, not worst*: [smaller gaps](ex-04-expected-gap), equation {eq}`eq-04-gap`, and more variety.
# 3. *Randomness*: a seed inside the row left two of four positions unreachable; with one seed per file a pair depends on
#    the order; with a seed per prompt it depends on its row alone, [as in your binariser](ex-04-binarise).
# 4. *Five strategies*: the score decides which answer is chosen; ties pull margins to zero (equation {eq}`eq-04-tie`);
#    the maximum seeks out [faulty tens](ex-04-faulty-ten), the winner's curse.
# 5. *Audit and leaks*: `audit` on any set, with [length bias](ex-04-length-bias) as its first number; exact equality
#    finds only a part of the [leaks](ex-04-leak).
#
# Next: [Chapter 05](05_ddpo) trains on these pairs.

# %% [markdown]
# ## References
#
# - Zephyr, sections 3 and 4.1 {cite:p}`tunstall2023zephyr`: the two sentences on pairs.
# - UltraFeedback {cite:p}`cui2023ultrafeedback`: four answers, four aspects, and the repair of its overall grades.
# - DPO {cite:p}`rafailov2023dpo`: what a pair does to a model.
# - Length-controlled AlpacaEval {cite:p}`dubois2024length`: length bias in judges.

# %% tags=["remove-cell"]
metrics = {
    "pairs": report.n_pairs,
    "strategy_agreement": agreement,
    "length_bias": report.length_bias,
    "ties": report.n_ties,
    "tie_share": tie_share["mean"],
    "tie_share_overall": tie_share["overall"],
    "tie_share_published": strategies.n_ties["as published"]
    / max(strategies.n_pairs["as published"], 1),
    **{f"leaks_{rule}": count for rule, count in leaks.items()},
    "faulty_tens": len(faulty),
    "faulty_tens_chosen": found["as published"].tens.n_chosen,
    "gap_random": float(gaps["random"].mean()),
    "gap_worst": float(gaps["worst"].mean()),
    "noise_mean_rating": noise["mean"],
    "noise_overall_grade": noise["overall"],
}
if compared:
    names = ("random_pairs", "worst_pairs", "grade")
    metrics |= {
        f"{name}_random_minus_worst": found.mean
        for name, found in zip(names, differences.values())
    }
artefacts.write_metrics(pipeline.folder / PAIRS, metrics)
