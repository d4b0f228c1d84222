# %% [markdown]
# # Preference pairs: best against random
#
# Four models have answered each prompt, and a teacher has rated every answer. dDPO cannot read ratings. It reads
# *pairs*: one answer that is chosen and one that is rejected. Between the two lies a handful of small decisions, and
# the public record of Zephyr {cite:p}`tunstall2023zephyr` shows how much hangs on them: the published pairs do not do
# what the paper says, one seed in the wrong place made half of the answers unreachable, and one comparison operator
# turned ones into tens. Here you make each decision yourself, count what it costs, and train on two of them.

# %% [markdown]
# ## What you will be able to do
#
# 1. Turn four ratings into a score and four scores into one pair, and account for every row.
# 2. Say why the paper sets the best answer against a *random* other and not the worst, and check it by training on both.
# 3. Find out where randomness comes from, and which of a data set's pairs depend on the order of its rows.
# 4. Compare five strategies on the same feedback: what changes, what ties, and what the faulty tens do.
# 5. Audit any preference set, and find the test questions that have leaked into it.

# %%
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% [markdown]
# ## The dials
#
# `scale` chooses model, data and recipe together. `feedback` takes rated answers of your own, in UltraFeedback's
# schema {cite:p}`cui2023ultrafeedback`. `preferences` takes ready-made pairs; there is nothing to make then, so the
# chapter explains itself on the miniature's feedback and audits *your* pairs.

# %% tags=["parameters"]
scale = "miniature"
seed = 0
dialogues = ""
feedback = ""
preferences = ""
base_model = ""
runs = ""
settings = {}

# %%
import hashlib
import itertools
import os
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np

from zephyr_utils import exercises, figures, training
from zephyr_utils.ablations import catalogue, measurements
from zephyr_utils.pipeline import artefacts
from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.evaluation import load_rows
from zephyr_utils.evaluation.intervals import bootstrap_interval, paired_difference
from zephyr_utils.explorers.pair_browser import PairBrowser
from zephyr_utils.data.filtering import decontaminate
from zephyr_utils.miniature.teacher import OPENINGS
from zephyr_utils.preferences import (
    STRATEGIES, audit, binarize, compare_strategies, mean_rating, overall_rating,
)
from zephyr_utils.data.records import ASPECTS, load_records
from zephyr_utils.pipeline.pipeline import ABLATIONS_FOLDER, PAIRS, Pipeline

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## From ratings to a pair
#
# ### A row of feedback
#
# A row is a prompt (`instruction`) and its `completions`. Each completion has ratings from 1 to 5 in four aspects,
# written as *strings*, and one overall grade from 1 to 10 that the teacher's critique ended with.

# %%
# ready-made pairs come without feedback: the miniature's is read
source = Pipeline(runs=runs) if pipeline.preferences else pipeline
loaded = source.load("feedback", "feedback")
rated = loaded.records
print(
    f"{loaded.n_read:,} rows read = "
    f"{len(rated):,} records + {len(loaded.set_aside):,} set aside"
)

# %% [markdown]
# A small function to look at a row. The four ratings stand in the order instruction-following, honesty,
# truthfulness, helpfulness.

# %%
def look(row):
    print(row["instruction"][:300])
    for answer in row["completions"]:
        marks = [
            answer["annotations"].get(aspect, {}).get("Rating", "-")
            for aspect in ASPECTS
        ]
        print(
            f"  {answer['model']:12s} {' '.join(marks)}  "
            f"grade {overall_rating(answer)!s:>4}  {answer['response'][:50]!r}"
        )


look(rated[0])

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Take the mean of the four ratings as an answer's score. Which answer is the best one here? How many of the others
# could be rejected, if the rejected answer has to score *lower*?
# ```

# %%
def my_mean(answer):
    numbers = [
        answer["annotations"].get(aspect, {}).get("Rating") for aspect in ASPECTS
    ]
    # "N/A": not rated, not a zero
    numbers = [int(number) for number in numbers if number and number.isdigit()]
    return sum(numbers) / len(numbers) if numbers else None

print([my_mean(answer) for answer in rated[0]["completions"]])

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Read off the highest number; every answer with a lower one can be rejected, and one with the *same* number cannot. In the
# miniature's first row the second answer wins with 5.0, and all three others can be rejected. Here the overall grade names
# the same winner; in other rows it names another, and that is the first of the decisions below. An aspect rated "N/A" is
# left out of the sum *and* of the count. Counting it as a zero would punish an answer for a question that the teacher found
# not to apply.
# ```
#
# The package's version, `mean_rating`, agrees on every answer of the file.

# %%
answers = [answer for row in rated for answer in row["completions"]]
differing = sum(my_mean(answer) != mean_rating(answer) for answer in answers)
print(f"{differing} of {len(answers):,} answers have another score")
assert not miniature_as_shipped or differing == 0, (
    "my_mean and mean_rating differ: print the first answer where they do"
)

# %% [markdown]
# ### The chosen and the rejected
#
# The paper says it twice. In section 3: save "the highest scoring response as $y_w$ and a random lower scoring prompt
# [it means: response] as $y_l$". In section 4.1: "the highest mean score as the 'chosen' response and one of the
# remaining three at random as 'rejected'". Written out with scores $s_1, \dots, s_4$:
#
# $$
# \begin{aligned}
# w &\in \arg\max_i s_i, \\
# l &\sim \mathrm{Uniform}\{\, i : s_i < s_w \,\} && \text{(section 3), or} \\
# l &\sim \mathrm{Uniform}\{\, i : i \neq w \,\} && \text{(section 4.1)} .
# \end{aligned}
# $$ (eq-04-pair)
#
# The two differ in one case only: another answer with the *same* score as the best. We follow section 3 and return to
# ties below. First the randomness: each row gets a generator of its own, seeded by a hash of the seed and the prompt,
# so that a row's pair is its own affair.

# %%
def generator_of(prompt, seed=0):
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))

def my_pair(row, seed=0):
    scores = {
        place: s
        for place, answer in enumerate(row["completions"])
        if (s := my_mean(answer)) is not None
    }
    rng = generator_of(row["instruction"], seed)
    # of several best answers this order decides, not the file's
    order = rng.sample(list(scores), len(scores))
    best = max(order, key=scores.get, default=None)
    lower = [place for place in order if scores[place] < scores[best]]
    return (best, rng.choice(lower)) if lower else None

print("chosen and rejected of the first row:", my_pair(rated[0]))

# %% [markdown]
# Fourteen lines are the whole of it. `binarize` does the same and accounts for its rows: which gave no pair, and why. Both must
# agree, pair by pair.

# %%
made = binarize(rated, score="mean", rejected="random", ties="drop", seed=0)
mine = {number: places for number, row in enumerate(rated) if (places := my_pair(row))}
print(made.report())

# %% [markdown]
# The counts agree if as many rows have a pair; the pairs agree if their texts do.

# %%
def texts(number):
    return tuple(
        rated[number]["completions"][place]["response"] for place in mine[number]
    )


same = sum(
    texts(number) == (pair["chosen"][-1]["content"], pair["rejected"][-1]["content"])
    for number, pair in zip(made.rows, made.pairs)
)
print(
    f"{same:,} of {len(made):,} pairs are the same in both; "
    f"rows with a pair: {len(mine):,} and {made.n_used:,}"
)
assert not miniature_as_shipped or same == len(made) == len(mine), (
    "compare my_pair(rated[n]) with made.pairs for the first n"
)

# %% [markdown]
# ## Why against a random answer, and not the worst?
#
# The paper's reason is one sentence (section 4.1): random selection "to encourage diversity and make the DPO objective
# more challenging". Two claims, and both can be counted. Let $L$ be the set of lower answers of a row. Against a
# random one the expected gap of scores is
#
# $$
# \mathbb{E}[s_w - s_l] = s_w - \frac{1}{|L|} \sum_{i \in L} s_i \;\le\; s_w - \min_{i \in L} s_i ,
# $$ (eq-04-gap)
#
# so it can never be larger than against the worst. It is smaller as soon as the lower answers are not all equally bad.
# The formula, on every row:

# %%
def expected_gap(row):
    scores = [
        s for answer in row["completions"] if (s := mean_rating(answer)) is not None
    ]
    lower = [s for s in scores if s < max(scores)]
    return max(scores) - np.mean(lower) if lower else None

expected = np.mean([gap for row in rated if (gap := expected_gap(row)) is not None])
print(f"expected gap against a random lower answer: {expected:.3f}")

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The scale of the mean rating runs from 1 to 5. Against a random lower answer the gap should be 1.6 in the
# miniature. Against the worst, what is it: 1.8, 2.5 or 3.5? And how many of either kind are closer than half a point?
# ```

# %%
lowest = binarize(rated, rejected="lowest")
gaps = {
    name: np.array([pair["score_chosen"] - pair["score_rejected"] for pair in pairs])
    for name, pairs in (("random", made), ("worst", lowest))
}
for name, values in gaps.items():
    print(
        f"{name:7s} mean gap {values.mean():.3f}, "
        f"below half a point: {(values < 0.5).mean():.1%}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Against the worst the gap is about half again as wide, and next to none of its pairs are close. Against a random one
# about a fifth are closer than half a point: these are the challenging ones. If you expected a much wider gap
# against the worst, note that a random lower answer *is* the worst in more than two pairs of five. The formula and the draw agree
# to the second digit, as they should: the draw is a sample of it.
# ```

# %%
fig, [axes] = figures.figure(height=3.2)
for n, (name, values) in enumerate(gaps.items()):
    style = {
        "color": figures.COLOURS[n],
        "linestyle": figures.LINE_STYLES[n],
        "linewidth": 2,
    }
    axes.hist(
        values, np.arange(0.125, 4.2, 0.25),
        histtype="step", label=f"against the {name} one", **style,
    )
axes.set(xlabel="gap of mean ratings, chosen minus rejected", ylabel="pairs")
fig.legend(loc="outside lower center", ncols=2)
figures.show(
    fig,
    alt=(
        "Two outlines with two hills each, below 1 point and around 3. "
        "Against a random answer the low hill is the higher one, "
        "against the worst the high hill is by far."
    ),
    caption=(
        "Gaps of the same chosen answers against two kinds of rejected ones. "
        "On the left pairs of two good answers, on the right of a good and a bad one; "
        "against the worst the close pairs are nearly gone."
    ),
)

# %% [markdown]
# Now the diversity. Whose answers are rejected? The entropy of that distribution, in bits, says how many models' worth
# of variety there is: four models in equal shares would give 2 bits.

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
# What you should see: a gap wider by a third at least, a draw that meets its expectation, and more bits for *random*.

# %%
if miniature_as_shipped:
    assert gaps["worst"].mean() > 1.3 * gaps["random"].mean(), (
        "the worst is no further away: was rejected='lowest' given?"
    )
    assert abs(gaps["random"].mean() - expected) < 0.06, (
        "the draw is off its expectation: is the generator re-seeded?"
    )
    assert bits(rejected_by["random"]) > bits(rejected_by["worst"]), (
        "a random rejected answer has to be more varied"
    )

# %% [markdown]
# ### Train on both
#
# Counting is not training. Two short dDPO runs start from the same dSFT model ([Chapter 05](05_ddpo) explains how they
# train) on a quarter of the pairs, nearly the same prompts: once best against random, once best against worst. Only the
# learning rate differs beside the pairs: each has the one that did best for it on development questions, so that neither
# is handicapped. They are the rows `few` and `lowest` of [Chapter 08](08_ablations)'s table and are trained only once for
# both chapters. *How small this is*: some 800 pairs and one seed, minutes of a laptop instead of hours of sixteen GPUs.
#
# Both are then asked about held-out pairs of *both* kinds, of prompts that neither was trained on: in which share of
# them is the implicit reward of the chosen answer the higher one?
#
# ```{admonition} Predict, then run
# :class: predict
# Two models, two kinds of held-out pairs. Fill in the table before you run: which model is better at pairs against a
# *random* answer, and which at pairs against the *worst*? Will the specialist for the worst win at home?
# ```

# %%
compared = not pipeline.preferences  # from ready-made pairs no second set can be made
kinds = {"random": "few", "worst": "lowest"}
if compared:
    trained = {
        kind: measurements.train(pipeline, catalogue.get_ablation(row))
        for kind, row in kinds.items()
    }
    for kind, run in trained.items():
        print(
            f"against {kind}: {run.results['rows_trained']} pairs, "
            f"first loss {run.results['first_step_loss']:.4f}"
        )

# %% [markdown]
# The implicit reward of an answer is $\beta$ times its log-probability under the trained model minus that under the dSFT
# model, so a pair is ranked right when the *difference* of log-probabilities, chosen minus rejected, has grown.

# %%
def log_ratios(directory, pairs):
    """log p(chosen) - log p(rejected) of each pair, under the directory's model."""
    model, tokenizer = load_model(directory, dtype="float32")
    prepare_tokenizer(tokenizer)
    sides = [
        training.answer_log_probs(model, tokenizer, [pair[side] for pair in pairs])
        for side in ("chosen", "rejected")
    ]
    return (sides[0] - sides[1]).numpy()

# %% [markdown]
# Two models, two kinds of held-out pairs, each share with its 95 % interval:

# %%
if compared:
    other_pairs = pipeline.pair_up(
        pipeline.folder / ABLATIONS_FOLDER / "lowest_pairs", rejected="lowest"
    )
    held_out = {
        "random": pipeline.split_pairs()[1],
        "worst": pipeline.split_pairs(other_pairs)[1],
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
    for (model, kind), values in right.items():
        print(
            f"trained against {model:7s} asked about {kind:7s} "
            f"{bootstrap_interval(values)}  ({len(values)} pairs)"
        )

# %% [markdown]
# Both models were asked about the *same* prompts, so the honest comparison is one by one. And does it show in what they
# write? The rule-based teacher grades both models' answers to the held-out questions of [Chapter 07](07_evaluation). Each line
# is *trained against random* minus *trained against worst*, with its 95 % interval.

# %%
def grades_of(row):
    file = measurements.evaluate_ablation(pipeline, row).folder / "judgments.jsonl"
    judged = sorted(
        (line["question_id"], line["turn"], line["score"]) for line in load_rows(file)
    )
    # a question's two turns are one question
    return np.reshape([score for *_, score in judged], (-1, 2)).mean(axis=1)

if compared:
    differences = {
        f"accuracy, {kind} pairs": paired_difference(
            right["random", kind], right["worst", kind]
        )
        for kind in kinds
    }
    differences["grade of the answers"] = paired_difference(
        grades_of("few"), grades_of("lowest")
    )
    for name, difference in differences.items():
        print(f"{name:22s} {difference}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The model trained against *random* answers is better at telling the best from a random one, by eight points of a hundred, and
# the interval leaves 0 out. At home the specialist for the worst is ahead by four, and there the interval holds 0: this run
# cannot tell the two apart. If you gave each model its own discipline, the signs agree with you, and one of the two is decided.
# A pair against the worst is mostly won by some coarse sign; once that is learnt, its gradient, which is weighted by
# $\sigma(-\text{margin})$, fades. Close pairs keep teaching, and much of what tells close answers apart also tells distant
# ones apart: the generalist ranks four in five of the worst pairs right.
#
# Seven short runs at *equal* rates that we made while writing this (2e-4 and 5e-4 with three seeds each, 8e-4 with one)
# agree on the random pairs and not on the others: on random pairs the generalist led by 8 to 17 points of a hundred, on the
# worst by 0 to 4, where here the specialist is ahead. One such run can tell neither from nothing. In *grades*, with each
# model at a rate of its own, the generalist leads with four seeds of five, by 0.57 of ten points on average, 95 % interval
# −0.07 to 1.21: not decided ([Chapter 08](08_ablations)). And the specialist for the worst says the right thing more often,
# in 64 % of its answers against 50 %: it has learnt that false answers lose, the other how an answer is liked. The paper's
# reason holds for the objective; it is not the whole of what one may want.
# ```
#
# Where a difference in grades does show, this is where it comes from: *which sign separates chosen from rejected*
# depends on what is rejected. Take two signs that have nothing to do with being right: length, and a friendly opening.

# %%
def friendly(pairs, side):
    return np.mean([pair[side][-1]["content"].startswith(OPENINGS) for pair in pairs])

for name, pairs in both.items():
    print(
        f"{name:7s} the longer one is chosen in {audit(pairs).length_bias:.1%};",
        f"friendly: {friendly(pairs, 'chosen'):.1%} of chosen,"
        f" {friendly(pairs, 'rejected'):.1%} of rejected",
    )
for kind, row in kinds.items() if compared else ():
    print(
        f"trained against {kind}: "
        f"{measurements.evaluate_ablation(pipeline, row).results['tokens']:.1f} "
        "tokens in an answer"
    )

# %% [markdown]
# In the miniature many of the *worst* answers are false but friendly. Set against them, friendliness looks less like a
# merit, and length like a fault. Against random answers both signs point where the teacher's taste does. A model trained
# on the worst can learn to be curt from a teacher who likes the opposite.

# %%
if compared and miniature_as_shipped:
    assert differences["accuracy, random pairs"].mean > -0.03, (
        "trained on random pairs, yet worse at them: run both again"
    )
    assert differences["grade of the answers"].mean > -1.0, (
        "the run against random answers broke: read 08_ablations/few/log.json"
    )
    assert audit(made).length_bias > audit(lowest).length_bias, (
        "against the worst, length should count for less"
    )

# %% [markdown]
# ## A seed in the wrong place
#
# The first published set of pairs, on which Zephyr was trained, drew its rejected answers at random too. But
# `random.seed(42)` stood *inside* the function that is called for each row. Here is that function in short: draw one
# of the four, and draw again while it is the chosen one.
#
# ```{admonition} Predict, then run
# :class: predict
# The best answer may stand at place 0, 1, 2 or 3. Which places can the rejected answer have, over the whole data set?
# ```

# %%
def drawn_in_version_1(best):
    rng = random.Random(42)  # re-seeded in every row: that is the fault
    while (place := rng.choice([0, 1, 2, 3])) == best:
        pass
    return place

print({best: drawn_in_version_1(best) for best in range(4)})

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Every row draws the *same* numbers: 0 first, and where 0 is the chosen one, on until 2. Answers 1 and 3 are never rejected in any of
# some 60,000 rows. If you expected all four places, you thought of one generator running through the file, which is
# what the second version of the script did. In UltraFeedback the models stand in random order, so version 1 was lucky:
# the fault cost variety within a row and not a whole model. In a file sorted by model it would have been fatal.
# ```
#
# `binarize` can repeat both versions, so the places can be counted on any feedback.

# %%
def places_rejected(pairs):
    counts = Counter()
    for number, pair in zip(pairs.rows, pairs.pairs):
        answers = [
            (answer["model"], answer["response"])
            for answer in rated[number]["completions"]
        ]
        counts[
            answers.index((pair["rejected_model"], pair["rejected"][-1]["content"]))
        ] += 1
    return [counts[place] for place in range(4)]

published = {"score": "overall", "ties": "keep", "seed": 42}
for version in ("published-v1", "published-v2"):
    print(version, places_rejected(binarize(rated, **published, randomness=version)))

# %% [markdown]
# ### Whose neighbours matter?
#
# Version 2 seeds once and draws on from row to row. That is random enough, but now a row's pair depends on the rows
# *before* it.
#
# ```{admonition} Predict, then run
# :class: predict
# Under version 2, take the first row away. How many of the other rows get another pair: nearly none, a quarter, two
# thirds? And if the file is put in another order?
# ```

# %%
def pairs_of(rows, **options):
    pairs = binarize(rows, **options)
    return {id(rows[number]): pair for number, pair in zip(pairs.rows, pairs.pairs)}

def share_changed(rows, **options):
    before, after = pairs_of(rated, **options), pairs_of(rows, **options)
    return sum(before[row] != after[row] for row in before.keys() & after.keys()) / len(
        after
    )

# %% [markdown]
# The rows are the same objects in any order, so a pair can be compared with what became of its own row.

# %%
shuffled = random.Random(1).sample(rated, len(rated))
version_2 = published | {"randomness": "published-v2"}
for name, options in (("version 2", version_2), ("a seed for each row", {})):
    gone, moved = (
        share_changed(rated[1:], **options),
        share_changed(shuffled, **options),
    )
    print(f"{name:20s} first row gone: {gone:6.1%}   shuffled: {moved:6.1%}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Taking one row away changes almost nothing, which surprises most people: the two streams of numbers are shifted
# against each other, but whenever one of them has to draw again and the other has not, they can fall back into step,
# and from there on they are the same for good. Another *order*, though, changes most of the pairs: two in three is what
# three equally likely answers would give, a little less where two answers read alike. With a seed for each row neither
# changes a single pair.
# ```
#
# A pair that depends on its row alone can be made in pieces, on ten machines, or again next year from a file that has
# grown. That is why `binarize` seeds by prompt.

# %% [markdown]
# ## Ties
#
# Which rows tie depends on the score. The mean of four ratings has seventeen values, in steps of a quarter, and the
# overall grade has ten. Which of the two should tie more often?

# %%
def top_is_shared(row, rate):
    scores = [s for answer in row["completions"] if (s := rate(answer)) is not None]
    return scores.count(max(scores, default=0)) > 1

tie_share = {}
for name, rate in (("mean", mean_rating), ("overall", overall_rating)):
    kept = binarize(rated, score=name, ties="keep").pairs
    tie_share[name] = sum(
        pair["score_chosen"] == pair["score_rejected"] for pair in kept
    ) / max(len(kept), 1)
    shared = np.mean([top_is_shared(row, rate) for row in rated])
    print(
        f"{name:8s} top shared in {shared:.1%} of rows; "
        f"ties among the pairs if kept: {tie_share[name]:.1%}"
    )

# %% [markdown]
# Here it is the mean, although it has more values: right answers crowd together between 4.25 and 5, while the teacher's
# noise spreads their overall grades over half the scale. Count ties; do not infer them from the number of values.
#
# ### What a tie teaches
#
# Is a tied pair just useless? Let $m$ be its reward margin. Which of the two answers is called chosen is the toss of a
# coin, so the expected loss and its slope are
#
# $$
# L(m) = -\tfrac12 \log \sigma(m) - \tfrac12 \log \sigma(-m), \qquad
# L'(m) = \tfrac12\,\sigma(m) - \tfrac12\,\sigma(-m) = \sigma(m) - \tfrac12 ,
# $$ (eq-04-tie)
#
# which is zero at $m = 0$ only. A tie is not silent: it pulls the two answers' rewards *together*. If the teacher
# really finds them equally good, that is a lesson. If they tie because the scale ran out at ten, it is a wrong one.

# %%
def tie_loss(m):
    return 0.5 * np.logaddexp(0, -m) + 0.5 * np.logaddexp(0, m)

for m in (-2.0, 0.0, 2.0):
    slope = (tie_loss(m + 1e-5) - tie_loss(m - 1e-5)) / 2e-5
    print(
        f"margin {m:+.0f}: loss {tie_loss(m):.4f}, slope {slope:+.4f}, "
        f"by the formula {1 / (1 + np.exp(-m)) - 0.5:+.4f}"
    )
    assert abs(slope - (1 / (1 + np.exp(-m)) - 0.5)) < 1e-6, (
        "the slope is not sigma(m) - 1/2: check the signs"
    )

# %% [markdown]
# ### How sure is the teacher? Twins tell
#
# In the miniature, two models often give word for word the same answer to the same prompt, and the teacher rates it
# twice without knowing. Nothing could be fairer: any difference between the two scores is noise. With independent noise
# of standard deviation $\tau$ on each, the difference has $\sqrt2\,\tau$.

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
        f"{name:8s} {len(apart):,} twins, {(apart == 0).sum():,} of them rated alike;",
        f"noise {noise[name]:.2f} points = {noise[name] / width:.1%} of the scale",
    )

# %% [markdown]
# The mean of four ratings is the steadier score: independent errors of four ratings shrink by $\sqrt4$ when averaged.
# Steadier is not the same as nearer to the truth: in [Chapter 03](03_ai_feedback) the overall grade followed it more
# closely, since good answers that differ in grade crowd together in the mean.
#
# Twins also become *pairs*: an answer can be chosen over itself, when its two ratings differ. Such pairs say nothing
# (chosen and rejected cancel in the loss), so training sets them aside and counts them. (It begins with somewhat fewer
# pairs than we made: the pipeline has taken out leaked prompts first; see *Contamination* below.)

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
# Score (mean or overall), rejected (random, lowest or all) and randomness make a strategy. All five below read the same
# feedback. The last one is the published script: overall grade, ties kept, one seed for the whole file.
#
# ```{admonition} Predict, then run
# :class: predict
# Replace the mean of the ratings by the overall grade. In how many rows is another answer chosen: 5 %, a third, or two
# thirds? On the real UltraFeedback, Argilla found about a half.
# ```

# %%
strategies = compare_strategies(rated)
strategies

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# About a third of the chosen answers change in the miniature. The three strategies by the mean agree on all of them: how
# the *rejected* answer is found cannot change the chosen one. Yet the two overall strategies differ by a tenth although
# they use the same grades: the top is often shared, and then one takes a random best answer and the other the first in
# the file. So part of the third is a toss among equals. The audit below counts without the toss: in how many pairs is
# the chosen answer *not among the best* by the other score?
# ```

# %%
changed, of = strategies.changed["mean, random", "as published"]
agreement = 1 - changed / max(of, 1)
not_best, among = audit(made, feedback=rated).chosen_not_best["overall"]
print(f"as published and by the mean agree on {agreement:.1%} of the chosen answers")
print(
    "chosen by the mean, yet not among the best by the overall grade: "
    f"{not_best / max(among, 1):.1%}"
)
if miniature_as_shipped:
    assert 0.5 < agreement < 0.85, (
        "the strategies should agree on about two thirds: "
        "were both made from the same rows?"
    )
    assert strategies.changed["mean, random", "mean, lowest"][0] == 0, (
        "the rejected answer must not change the chosen one"
    )

# %% [markdown]
# ### The faulty tens
#
# UltraFeedback's overall grades had a fault. Where a critique's grade was rescaled, `>` stood where `>=` should have
# been, and many answers graded 1 came out as 10. Argilla found them by reading the worst reviews among the best grades:
# 2,628 answers carried a ten. The repair went by the aspect ratings: a ten whose mean is at most 2 was a one, a ten
# above 4 stood, and what lies between was judged again. The miniature has the same fault, planted at a known rate.

# %%
tens = [(number, mean_rating(answer)) for number, row in enumerate(rated)
        for answer in row["completions"] if overall_rating(answer) == 10]
faulty = [number for number, mean in tens if mean is not None and mean <= 2]
print(
    f"{len(tens):,} tens, "
    f"{len(faulty)} of them faulty ({len(faulty) / max(len(tens), 1):.1%})"
)
if faulty:
    look(rated[faulty[0]])

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Few of the tens are faulty, a few in a hundred. How many of *these* become the chosen answer of a pair when the
# overall grade decides: a quarter, most, or every one? And when the mean decides?
# ```

# %%
found = {name: audit(binarize(rated, **STRATEGIES[name]), feedback=rated)
         for name in ("mean, random", "as published")}
for name, report in found.items():
    print(
        f"{name:14s} pairs that choose a faulty ten: "
        f"{report.tens.n_chosen} (of {report.tens.n_faulty} faulty tens)"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Most of them are chosen under the overall grade. A fault that hits one answer in two hundred seems small, but
# the *maximum* seeks it out: nothing can beat a ten, so a faulty ten loses only to an honest ten in its row. Whoever takes the best of
# several noisy numbers gets the luckiest number, not the best answer. Under the mean none is chosen, because four other
# ratings would have to fail at once. If you said a quarter, you drew the chosen answer at random; it is not.
# ```

# %%
if miniature_as_shipped:
    assert found["mean, random"].tens.n_chosen == 0, (
        "the mean of the ratings chose a faulty ten: is score='mean' given?"
    )
    assert found["as published"].tens.n_chosen > 0.4 * len(faulty), (
        "the overall grade should choose most faulty tens"
    )

# %% [markdown]
# ### Browse them
#
# One prompt at a time: four answers, their ratings, and what each strategy makes of them. Filter by disagreement or by
# faulty tens; search in prompts and answers. It works on the page as it is, without a kernel.

# %%
evenly = list(range(0, len(rated), max(len(rated) // 80, 1)))
PairBrowser(rated, shown=sorted({*evenly, *faulty[:10]}))

# %% [markdown]
# ## The audit
#
# Before training on any preference set, yours or a famous one, count what is in it. `audit` reads any preference
# records. With the feedback at hand it also says what became of the faulty tens and how far the choice hangs on the
# score. This is the set that the next chapter trains on.
#
# ```{admonition} Predict, then run
# :class: predict
# How often is the chosen answer the *longer* one? A teacher with no taste for length would give 50 %.
# ```

# %%
pairs = load_records(pipeline.pairs().folder / "pairs.parquet", "preference").records
report = audit(pairs, feedback=None if pipeline.preferences else rated)
report

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Look at the row *chosen answer longer*. In the miniature the longer answer is chosen a little more often than not,
# because a good answer there is right *and* friendly; chosen against the worst instead, it would be the shorter one
# (wrong answers are friendly too). A bias for length is a property of the whole recipe, not only of the teacher. If you
# predicted a strong bias, you thought of human or GPT-4 judges, who are known for one {cite:p}`dubois2024length`. What a
# model learns from a biased set is tested by a rule that only counts characters: the share where lengths differ is that
# rule's accuracy, and a reward model that does no better has learnt nothing else.
# ```

# %%
longer = [
    len(p["chosen"][-1]["content"]) > len(p["rejected"][-1]["content"])
    for p in pairs
    if len(p["chosen"][-1]["content"]) != len(p["rejected"][-1]["content"])
]
print(
    "a judge that only counts characters is right in",
    bootstrap_interval(longer) if longer else "no pair",
)
if miniature_as_shipped:
    assert report.n_ties == 0 == report.n_reversed, (
        "ties were to be dropped: see Pipeline.pairs()"
    )
    assert 0.5 < report.length_bias < 0.7, (
        "the length bias left its usual range: compare the mean lengths in the table"
    )

# %% [markdown]
# ### The real thing
#
# The same audit reads the records that Zephyr's successors train on. They are not ours to ship. If you have some, in
# the schema of `ultrafeedback_binarized`, put them in a folder and name it in the environment variable
# `ZEPHYR_REAL_DATA`; else the next cell says that they are not here.

# %%
folder = (
    Path(os.environ.get("ZEPHYR_REAL_DATA", "nowhere"))
    / "ultrafeedback_binarized_sample"
)
files = sorted(folder.glob("*.jsonl"))
real = (
    audit(pair for file in files for pair in load_records(file, "preference"))
    if files
    else None
)
real if real else print(
    "No real records here: ZEPHYR_REAL_DATA is not set, or holds no "
    "ultrafeedback_binarized_sample."
)

# %% [markdown]
# What we found in a public sample of 800 pairs of `trl-lib/ultrafeedback_binarized` (62,135 pairs, a copy that TRL's own
# examples train on): **86 ties (10.8 %)**, 2 pairs that choose an answer over itself, one empty chosen and one empty
# rejected answer, and a chosen answer that is the longer one in 55 % of the pairs. The mean gap of the overall grades is
# 1.88 points of ten. Three of these are the decisions of this chapter, seen from behind: ties kept, no check for equal
# texts, none for empty ones.

# %% [markdown]
# ## Contamination
#
# UltraFeedback took prompts from TruthfulQA, a test set, and some of its questions stand in other sources too. Zephyr's
# TruthfulQA score in the paper was therefore not clean. The published set's second version removed that source, and
# every prompt that *equals* a question: 831 prompts fewer in all. Equals, letter by letter. In the miniature somebody
# has hidden held-out questions among the feedback's prompts. Find them.
#
# ```{admonition} Predict, then run
# :class: predict
# A leak can be word for word, or in other letters and punctuation, or inside a longer prompt. If the three are equally
# common, which share does the published rule find?
# ```

# %%
questions = [question["turns"][0] for question in source.questions()]
prompts = [row["instruction"] for row in rated]
exact = {n for n, prompt in enumerate(prompts) if prompt in set(questions)}
print(
    f"exact: {len(exact)} of {len(prompts):,} prompts, such as",
    *[repr(prompts[n]) for n in sorted(exact)][:2],
    sep="\n  ",
)

# %% [markdown]
# The second disguise: only the words count, in small letters.

# %%
def words(text):
    return " ".join(re.findall(r"\w+", text.lower()))

plain_questions = {words(question) for question in questions}
normalised = {
    n for n, prompt in enumerate(prompts) if words(prompt) in plain_questions
} - exact
print(
    f"but for case and punctuation: {len(normalised)} more, such as",
    *[repr(prompts[n]) for n in sorted(normalised)][:2],
    sep="\n  ",
)

# %% [markdown]
# And with something around it. The spaces on both ends keep a match from ending in the middle of a word.

# %%
spaced = [f" {question} " for question in plain_questions]
inside = {
    n
    for n, prompt in enumerate(prompts)
    if any(question in f" {words(prompt)} " for question in spaced)
}
inside -= exact | normalised
print(
    f"inside a longer prompt: {len(inside)} more, such as",
    *[repr(prompts[n]) for n in sorted(inside)][:2],
    sep="\n  ",
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# A third: the exact rule is blind to the two disguises, and each further rule finds what the one before lets pass. If
# you trusted the exact rule with most of them, think of what happens to text on its way through crawlers and
# people: case and punctuation are the first things to go.
# ```
#
# `decontaminate` has the three rules with word *runs* in the third, so that a long question is found with a word
# changed, and so that time does not grow with prompts times questions. It must find the same prompts.

# %%
clean = decontaminate(prompts, questions)
leaks = {rule: clean.counts[rule] for rule in ("exact", "normalized", "ngram")}
print(clean.report())
assert (
    not miniature_as_shipped
    or {leak.index for leak in clean.removed} == exact | normalised | inside
), "the two disagree"

# %% [markdown]
# In a closed world we may ask whether that is *all*: the miniature can read a prompt back into the combination it asks
# for, and knows which combinations it holds out. (It cannot read prompts that have lost their capitals.)

# %%
if miniature_as_shipped:
    from zephyr_utils.miniature.world import is_held_out, understand

    bare = [
        prompt.removeprefix("I have a question for you. ").removesuffix(" Thank you.")
        for prompt in prompts
    ]
    true_leaks = {
        n
        for n, text in enumerate(bare)
        if (known := understand([text])) and is_held_out(known.keys[0])
    }
    missed = true_leaks - {leak.index for leak in clean.removed}
    print(
        f"{len(true_leaks)} leaks by the world's own records; "
        f"missed by the three rules: {len(missed)}"
    )
    assert min(leaks.values()) >= 2, (
        "each rule should find something: were they given pipeline.questions()?"
    )
    assert not missed, "a leak got past the rules: print its prompt"

# %% [markdown]
# One rule deserves its limit shown. The same question in other words gets past all three: matching reads words, not
# meaning.

# %%
asked = "What are the capitals of Kenya and China?"
reworded = "Kenya and China: where does each have its seat of government?"
for prompt in (asked.upper(), reworded):
    print(
        f"{prompt:65s} "
        f"{'found' if decontaminate([prompt], [asked]).removed else 'NOT found'}"
    )

# %% [markdown]
# ## Paper, card, script and ours
#
# | | paper | data set's card | published script | ours |
# |---|---|---|---|---|
# | chosen | highest mean rating | "highest mean score", later corrected to `overall_score` | highest overall grade, the first of equals | highest mean, a random one of equals |
# | rejected | a random *lower* one (section 3); one of the remaining three (4.1) | a random other | a random other that differs in grade, text or model | a random lower one |
# | ties | not mentioned | not mentioned | kept | dropped and counted |
# | seed | not mentioned | not mentioned | v1: in every row; v2: once a file | a hash of seed and prompt |
# | leaks | not mentioned | TruthfulQA removed (v2) | v2: its source, and exact matches | exact, normalised, word runs |
# | faulty tens | unknown then | unknown then (v1) | v1 was made before their repair in December 2023 | not read: the mean decides |
# | pairs | from 64k prompts | v1 61,966 + 2,000; v2 61,135 + 2,000 | the same | see the audit above |
#
# The published numbers come from the card and the commit history of `ultrafeedback_binarized`; the repair of the tens
# is described by UltraFeedback itself.

# %% [markdown]
# ```{admonition} Where readers fall
# :class: warning
# - **Ratings are strings.** `max("10", "9")` is `"9"`. Convert first, and leave "N/A" out of sum *and* count.
# - **Chosen and rejected swapped** trains a model to be worse without any error. The first row of the audit to look at
#   is *reversed*; then read five pairs.
# - **A better score is not a better answer.** The best of four bad answers is still chosen. Look at the lowest chosen
#   scores in the audit before you trust the set.
# - **Decontaminate before pairing, split after it by prompt**: two rows of one prompt on both sides of the split are a
#   leak of your own making.
# - **Counting ties on rounded scores** hides them; compare the scores as they were given.
# ```

# %% [markdown]
# ## Exercises
#
# Each stub prints whether it is right, and the misconception if it is not. An untouched one lets the run go on.
#
# ```{exercise} One pair from four scores
# :label: ex-04-choose-pair
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `choose_pair(scores, rng)`: the places of the chosen and the rejected answer, the latter a random *lower* one
# drawn with the generator given; None when there is none.
# ```

# %% tags=["exercise"]
def choose_pair(scores, rng):
    ...


exercises.check_choose_pair(choose_pair)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Find the best place first: `scores.index(max(scores))`. Then list the places that score lower.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `rng.choice` stops with an IndexError on an empty list, so look whether the list is empty before you draw.
# ```

# %% [markdown]
# ````{solution} ex-04-choose-pair
# :class: dropdown
# ```python
# def choose_pair(scores, rng):
#     best = scores.index(max(scores))
#     lower = [place for place, score in enumerate(scores) if score < scores[best]]
#     return (best, rng.choice(lower)) if lower else None
# ```
# ````

# %% [markdown]
# ```{exercise} Repair the tens
# :label: ex-04-faulty-ten
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `repaired(overall, mean)` by UltraFeedback's own rule: the grade as it should be, and None for a ten that has to
# be judged again.
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
# "At most 2" holds 2 itself and "above 4" does not hold 4: the fault you are repairing was a `>` for a `>=`.
# ```

# %% [markdown]
# ````{solution} ex-04-faulty-ten
# :class: dropdown
# ```python
# def repaired(overall, mean):
#     if overall != 10 or mean > 4:
#         return overall
#     return 1.0 if mean <= 2 else None
# ```
# ````

# %% [markdown]
# ```{exercise} A judge that only counts
# :label: ex-04-length-bias
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `length_bias(pairs)` for a list of (chosen, rejected) texts: among those that differ in length, the share whose
# chosen text is the longer one; 0.5 where none differ.
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

# %% [markdown]
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
# ```{exercise} Find the leak
# :label: ex-04-leak
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# Write `leaked(prompt, question)`: whether the question stands in the prompt, whatever case and punctuation, and not
# by ending in the middle of a word.
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

# %% [markdown]
# ````{solution} ex-04-leak
# :class: dropdown
# ```python
# def leaked(prompt, question):
#     def words(text):
#         return " " + " ".join(re.findall(r"\w+", text.lower())) + " "
#     return words(question) in words(prompt)
# ```
# ````

# %% [markdown]
# ## Your turn with your own data
#
# - Rated answers (UltraFeedback's schema): set `feedback` above to the file's path, or in a shell
#   `zephyr pairs FEEDBACK.jsonl --output PAIRS.parquet --questions QUESTIONS.jsonl`, which pairs, decontaminates and audits.
# - Ready-made pairs in any of the layouts of [What you can bring](../bring), scores or not: set `preferences`, and read
#   the audit before anything is trained.
# - With either, ask three questions first: how many ties, how many identical texts, and does the longer answer win?

# %% [markdown]
# ## Recap
#
# 1. *Ratings to score to pair*: `my_mean` and `my_pair`, fourteen lines that agree with `binarize` on every row, and the
#    exercise *One pair from four scores*.
# 2. *Random, not worst*: smaller gaps (equation {eq}`eq-04-gap`), more variety, and after the short training better at
#    held-out random pairs, and at the others not to be told from the specialist; what is rejected decides which signs look
#    like merits.
# 3. *Randomness*: a seed inside the row left two of four places unreachable; one seed a file depends on the order; a
#    seed for each prompt depends on neither.
# 4. *Five strategies*: the chosen answer changes in about a third of rows between mean and overall grade; ties pull
#    margins to zero (equation {eq}`eq-04-tie`); the maximum seeks out the faulty tens (exercise *Repair the tens*).
# 5. *Audit and leaks*: `audit` on any set (exercise *A judge that only counts*); exact match found a third of the leaks
#    (exercise *Find the leak*).
#
# Next: [Chapter 05](05_ddpo) trains on these pairs.

# %% [markdown]
# ## References
#
# - Zephyr, sections 3 and 4.1 {cite:p}`tunstall2023zephyr`: the two sentences on pairs.
# - UltraFeedback {cite:p}`cui2023ultrafeedback`: four answers, four aspects, and the repair of its overall grades.
# - DPO {cite:p}`rafailov2023dpo`: what a pair does to a model.
# - Length-controlled AlpacaEval {cite:p}`dubois2024length`: the bias for length in judges.

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
