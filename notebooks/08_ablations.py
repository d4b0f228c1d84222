# %% [markdown]
# # Ablations: which claims carry over?
#
# Zephyr's paper does not only say that dDPO after dSFT works. It says what is *needed* for it: its table 3 leaves out
# one stage after the other, its figure 3 overfits on purpose {cite:p}`tunstall2023zephyr`. Here we ask the same questions of
# the miniature, and some that the paper left open: worst or random rejected answers, ties, $\beta$, the loss itself, pairs of
# the model's own answers. Every difference is measured in two outcomes, the grade and the share of right answers. It gets an
# interval and one of four verdicts: it holds, it does not hold, it is equivalent to none, or it is undecided.

# %% [markdown]
# ## What you will be able to do
#
# 1. Read an ablation table with its errors, and say which of its differences lie in the noise.
# 2. Compare two trainings over replications: pair them, put Student's interval around the difference, give a verdict.
# 3. Set up a fair comparison: each row searched on its own, over seeds, on questions that the table does not use.
# 4. Say what each stage, the pairs, $\beta$ and the shape of the loss do to the answers, with numbers.
# 5. Count how many findings a long table makes by chance, and correct for it.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (`scale` chooses model, data and recipe together)
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
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display

from zephyr_utils import chat, evaluation, exercises, figures, lessons, objectives
from zephyr_utils.ablations import catalogue, claims, measurements, outcomes, results
from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.ablations.statistics import measure_effect
from zephyr_utils.ablations.tables import reasons_table, undecided
from zephyr_utils.data.records import load_records
from zephyr_utils.evaluation import seeds_interval
from zephyr_utils.miniature.data import development_questions
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.published import published_table
from zephyr_utils.tables import markdown_table
from zephyr_utils.training import LOG

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## What the paper reports
#
# Table 3 trains Mistral-7B four ways, one epoch each (our dSFT-1 has two). *dSFT-2* is a second round of dSFT, on the answers
# that UltraFeedback ranks highest: the same good answers that dDPO sees, without the bad ones beside them.

# %%
table_3 = published_table("table_3")
display(Markdown(markdown_table(
    ("setting", "MT-Bench", "AlpacaEval", "trained by"),
    [
        (
            row["setting"], f"{row['mt_bench']:.2f}",
            f"{row['alpaca_eval']:.2f} ({row['alpaca_eval_error']:.2f})",
            row["description"],
        )
        for row in table_3.rows
    ],
    numbers=(1, 2),
)))
print(table_3.source)

# %% [markdown]
# ````{exercise} How many errors apart?
# :label: ex-08-errors-apart
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Two figures have the standard errors `one_error` and `other_error`, independent of each other. Write
# `errors_apart(one, one_error, other, other_error)`: return how many standard errors *of their difference* the first lies
# above the second.
# ````

# %% tags=["exercise"]
def errors_apart(one, one_error, other, other_error):
    ...


exercises.check_errors_apart(errors_apart)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The variances of independent figures add up, in a difference as in a sum.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `np.hypot(a, b)` is the root of the sum of two squares.
# ```

# %% [markdown]
# `````{solution} ex-08-errors-apart
# :class: dropdown
# ```python
# def errors_apart(one, one_error, other, other_error):
#     return (one - other) / np.hypot(one_error, other_error)
# ```
# `````

# %% tags=["remove-input"]
lessons.predict(
    "The standard error of each AlpacaEval figure is in brackets. On AlpacaEval, how "
    "many standard errors of their *difference* lie between the last row and dSFT-1?",
    ["about 4", "about 1", "a quarter of one"],
    2,
    key="table-three",
)

# %% tags=["hide-output"]
setting = {row["setting"]: row for row in table_3.rows}
apart_of = exercises.yours(errors_apart, exercises.check_errors_apart)
columns = ("alpaca_eval", "alpaca_eval_error")
apart = {
    (one, other): apart_of(
        *[setting[row][name] for row in (one, other) for name in columns]
    )
    for one, other in (
        ("dDPO + dSFT", "dSFT-1"), ("dSFT-1", "dSFT-2"), ("dSFT-1", "dDPO - dSFT")
    )
}
for (one, other), errors in apart.items():
    print(f"{one:12s} over {other:12s} {errors:.2f} standard errors")

# %% tags=["remove-input"]
lessons.explain(
    f"{apart['dDPO + dSFT', 'dSFT-1']:.2f}: on AlpacaEval the headline row is "
    "indistinguishable from dSFT at one epoch. The second dSFT is "
    f"{apart['dSFT-1', 'dSFT-2']:.1f} standard errors *below* the first, although the "
    "paper's text says that it has no impact. And MT-Bench, where the headline row "
    "leads by "
    f"{setting['dDPO + dSFT']['mt_bench'] - setting['dSFT-1']['mt_bench']:.2f}, is "
    "printed without an error at all. (The errors of two models judged on the same "
    "prompts are not independent; paired, they would be somewhat smaller.)",
    key="table-three",
)

# %% [markdown]
# All this is *one* training per row. Another seed would give other numbers, and nobody says how different. In the miniature
# we can afford to ask.
#
# ## A difference over replications
#
# A **replication** draws the records, the training order, the exam and the sampling again, all from one seed. Train both rows
# of a comparison in replications $1, \ldots, n$. Each gives a difference $d_s$ of two scores on the same exam. Their mean
# $\bar d$ is our estimate, and
#
# $$
# \bar d \pm t_{n-1} \frac{s_d}{\sqrt{n}}, \qquad s_d^2 = \frac{1}{n - 1} \sum_s (d_s - \bar d)^2
# $$ (eq-08-interval)
#
# its 95 % interval, if the $d_s$ are roughly normal. Student's $t_{n-1}$ replaces the usual 1.96, because $s_d$ is itself
# estimated from a few values.
#
# ````{exercise} A difference over seeds
# :label: ex-08-seed-difference
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `seed_difference(ours, theirs)`: the scores of two rows for the same five seeds, in the same order. Return the mean
# difference (ours minus theirs) and the two ends of its 95 % interval. For five values, $t = 2.776$.
# ````

# %% tags=["exercise"]
def seed_difference(ours, theirs):
    ...  # return mean, low, high


exercises.check_seed_difference(seed_difference)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Subtract first, seed by seed. Everything after that is about one list of five numbers.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `np.std(values, ddof=1)` divides by n - 1; the error of a *mean* is that over the square root of n.
# ```

# %% [markdown]
# `````{solution} ex-08-seed-difference
# :class: dropdown
# ```python
# def seed_difference(ours, theirs):
#     gaps = np.subtract(ours, theirs)
#     half = 2.776 * gaps.std(ddof=1) / np.sqrt(len(gaps))
#     return gaps.mean(), gaps.mean() - half, gaps.mean() + half
# ```
# `````

# %%
interval_of = exercises.yours(seed_difference, exercises.check_seed_difference)
ours, theirs = [6.9, 7.4, 6.4, 7.1, 6.6], [6.5, 6.9, 6.1, 6.4, 6.3]
print("yours      ", np.round(interval_of(ours, theirs), 3))
print("the package", seeds_interval(np.subtract(ours, theirs)))

# %% tags=["remove-input"]
lessons.predict(
    "We draw five differences around a true value of 0 and compute the interval, "
    "20,000 times. How often does it include 0 if we use 1.96 in place of Student's "
    "2.776?",
    ["94 %", "88 %", "75 %"],
    1,
    key="student",
)

# %% tags=["hide-output"]
draws = np.random.default_rng(seed).normal(size=(20_000, 5))
reach = np.abs(draws.mean(axis=1)) / (draws.std(axis=1, ddof=1) / np.sqrt(5))
holds = {t: np.mean(reach <= t) for t in (2.776, 1.96)}
for t, share in holds.items():
    print(f"with {t:5.3f} the interval includes the truth in {100 * share:.1f} %")
assert abs(holds[2.776] - 0.95) < 0.01

# %% tags=["remove-input"]
lessons.explain(
    f"In {100 * holds[1.96]:.0f} %: with the normal distribution's value the interval "
    "is wrong more than twice as often as it claims. With few values the spread is "
    "often underestimated, and then the interval is too short. Student's includes the "
    f"truth in {100 * holds[2.776]:.0f} %.",
    key="student",
)

# %% [markdown]
# ### From an interval to a word
#
# A claim **holds** if the whole 95 % interval lies on its side, and **does not hold** if all of it lies on the other. If the
# interval includes 0, the difference may still be **equivalent** to none, that is, too small to matter: its *90 %* interval
# lies within a margin fixed beforehand (two one-sided tests at 5 %; here 0.3 of a grade, 2 points of right answers).
# Otherwise it is **undecided**. Finding no difference is not the same as showing that there is none.
#
# ````{exercise} Four words
# :label: ex-08-verdict
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `verdict(wide, narrow, margin)`: return the verdict on "ours is better". `wide` and `narrow` are the ends of the 95 %
# and the 90 % interval of ours minus theirs, each a pair.
# ````

# %% tags=["exercise"]
def verdict(wide, narrow, margin):
    ...  # "holds", "does not hold", "equivalent" or "undecided"


exercises.check_verdict(verdict)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Ask first whether `wide` leaves 0 out. Only if it does not, look at `narrow`.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `-margin < narrow[0] and narrow[1] < margin` says that it lies within the margin.
# ```

# %% [markdown]
# `````{solution} ex-08-verdict
# :class: dropdown
# ```python
# def verdict(wide, narrow, margin):
#     if not wide[0] <= 0 <= wide[1]:
#         return "holds" if wide[0] > 0 else "does not hold"
#     within = -margin < narrow[0] and narrow[1] < margin
#     return "equivalent" if within else "undecided"
# ```
# `````

# %% [markdown]
# ## The rows
#
# A row is a training: where it starts, what it trains on, and which recipe values make it what it is. The rows of table 3 use
# all the pairs. Those below them ask which pairs, which $\beta$ and which loss; they train on a quarter of the pairs. Rows on
# other data take as many optimiser steps as the row they are compared with.

# %% tags=["hide-output"]
for row in catalogue.ABLATIONS.values():
    differs = {**row.pairs, **row.recipe}
    how = f"{row.trains:6s} from {row.start:10s}" if row.trains else "the pipeline's"
    print(f"{row.label:52s} {how}")
    if differs:
        print("    " + ", ".join(f"{name} {value}" for name, value in differs.items()))

# %% [markdown]
# ### A fair comparison: a search for each row
#
# It is easy to bias such a table without meaning to. Tune one row, give the others its learning rate, and the tuned row wins. A
# dSFT that was trained too little flatters dDPO. So every row that trains has a search of its own, on *development* questions,
# over seeds that measure no claim, and the grid is extended until its best rate lies inside it
# (`python benchmarks/search.py --stages rows`). Two controls take the rate of the row that they control, so that nothing but
# the records differs. Three limits remain: neighbouring rates differ by a factor of two, so a difference of a few hundredths
# can be the grid's; rows are chosen by their *grade*, and often the next lower rate kept more answers right; and IPO's
# $\beta$, which has another unit than DPO's, was tried at 0.1 and 1 alone.
#
# ````{exercise} What a search chooses
# :label: ex-08-search-choice
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `search_choice(scores)`. The dictionary maps each learning rate to its scores, one per seed; the rates are in no order.
# Return the rate with the best mean, and `True` if that rate is the smallest or the largest that was tried, so that the grid
# has to be extended.
# ````

# %% tags=["exercise"]
def search_choice(scores):
    ...  # return rate, extend


exercises.check_search_choice(search_choice)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `max(scores, key=...)` takes a function of a rate. Which number should decide: the best seed's, or the mean?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `rate in (min(scores), max(scores))`: the keys of a dictionary can be compared.
# ```

# %% [markdown]
# `````{solution} ex-08-search-choice
# :class: dropdown
# ```python
# def search_choice(scores):
#     rate = max(scores, key=lambda rate: np.mean(scores[rate]))
#     return rate, rate in (min(scores), max(scores))
# ```
# `````

# %% [markdown]
# Why not the best single seed? Take twelve rates that are all equally good, with three seeds each:

# %%
choose = exercises.yours(search_choice, exercises.check_search_choice)
rng = np.random.default_rng(seed)
equal = {10.0**-k: rng.normal(5.0, 0.5, 3).tolist() for k in range(12)}
luckiest = max(max(values) for values in equal.values())
print(f"the luckiest seed promises {luckiest - 5:+.2f}")
print(f"the best mean promises     {np.mean(equal[choose(equal)[0]]) - 5:+.2f}")

# %% [markdown]
# Both promise too much, since no rate is better than another: that is the **winner's curse**. A mean over seeds reduces it,
# and the exam, which the search never saw, is free of it. What each row trains with:

# %% tags=["hide-output"]
searched = catalogue.searched_ablations(pipeline.scale)
trained_rows = []
for row in catalogue.ABLATIONS.values():
    if row.trains:
        recipe = catalogue.recipe_of(pipeline, row)
        other = catalogue.AT_THE_RATE_OF.get(row.name)
        whose = "its own" if row.name in searched else f"that of {row.stage}"
        whose = f"that of {other}" if other else whose
        rate = f"{recipe['learning_rate']:.1e}"
        trained_rows.append((f"`{row.name}`", rate, recipe["num_train_epochs"], whose))
display(Markdown(markdown_table(
    ("row", "learning rate", "epochs", "search"), trained_rows, numbers=(1, 2)
)))

# %% tags=["remove-input"]
lessons.predict(
    "May development questions and exam questions share a combination (a name with a "
    "topic, three numbers in a sum), asked in other words?",
    ["yes, the words differ", "no"],
    1,
    key="development",
)

# %% tags=["hide-output"]
development, asked = development_questions(), pipeline.questions()
turns = {question["turns"][0] for question in development} & {
    question["turns"][0] for question in asked
}
by_category = {
    c: sum(q["category"] == c for q in development)
    for c in dict.fromkeys(q["category"] for q in asked)
}
print(f"{len(development)} development questions, {len(asked)} in the exam")
print(f"{len(turns)} first turns in both; by category:")
print(", ".join(f"{name} {count}" for name, count in by_category.items()))
assert not turns


# %% tags=["remove-input"]
lessons.explain(
    "No: to choose on a question asked in another phrasing is to choose on the test. "
    "A hash assigns each combination to one of the two. "
    f"{len(turns)} first turns are in both, and no category has fewer than "
    f"{min(by_category.values())} development questions, so a search sees all of them.",
    key="development",
)

# %% [markdown]
# ### Look before training
#
# The same rated answers make different pairs. One prompt, as the rows see it:

# %% tags=["hide-input"]
makings = {
    name: pipeline.pairs()
    if name == "few" or pipeline.preferences
    else measurements.data_of(pipeline, catalogue.ABLATIONS[name])
    for name in catalogue.PAIRINGS
}
sets = {
    name: load_records(made.folder / "pairs.parquet", "preference").records
    for name, made in makings.items()
}
pairs = {name: {pair["prompt"]: pair for pair in made} for name, made in sets.items()}
prompts = [
    prompt
    for prompt, pair in pairs["few"].items()
    if all(prompt in made for made in pairs.values())
    and pair["rejected"] != pairs["lowest"].get(prompt, pair)["rejected"]
] or list(pairs["few"])
for name, made in pairs.items():
    pair = made[prompts[0]]
    scores = "no scores"  # of pairs of your own, which need none
    if "score_chosen" in pair:
        scores = f"{pair['score_chosen']:g} over {pair['score_rejected']:g}"
    print(
        f"{name:10s} {scores:14s} + {pair['chosen'][-1]['content']!r}\n"
        f"{'':25s} - {pair['rejected'][-1]['content']!r}"
    )

# %% [markdown]
# How many pairs, how many ties, and how far apart are the two answers' scores?

# %%
for name, made in sets.items():
    scored = [pair for pair in made if "score_chosen" in pair]
    apart = "no scores"
    if scored:
        gaps = np.array([p["score_chosen"] - p["score_rejected"] for p in scored])
        apart = f"{100 * np.mean(gaps == 0):4.1f} % ties, mean gap {gaps.mean():.2f}"
    print(f"{name:10s} {len(made):5d} pairs, {apart}")

# %% [markdown]
# dSFT-2 trains on a chosen answer as on any dialogue: all tokens count, the prompt's too. dDPO counts the answer's alone, up
# to the line break after its end, which the template writes and TRL scores as well. Tokens that do not count are shown as `·`:

# %%
_, tokenizer = chat.load_model(pipeline.model_directory("base"))
chat.prepare_tokenizer(tokenizer)
shown = pairs["few"][prompts[0]]["chosen"]
ids, _ = chat.encode(tokenizer, shown)
prompt = tokenizer.apply_chat_template(
    shown[:-1], add_generation_prompt=True, return_dict=True
)["input_ids"]
tokens = [tokenizer.decode([i]).replace("\n", "↵") for i in ids]
print("dSFT-2 ", "".join(tokens))
counted = tokens[len(prompt) :]
print("dDPO   ", "·" * len("".join(tokens[: len(prompt)])) + "".join(counted))
assert ids[: len(prompt)] == prompt and counted

# %% [markdown]
# ## One replication of your own
#
# Now train three rows of table 3 for this run's seed, with dDPO after dSFT on a quarter of the pairs (the row `few`). If the
# process is killed, run the cell again: it resumes where it was.

# %% tags=["remove-input"]
lessons.predict(
    "dDPO without dSFT starts from the base model. Where does its grade end?",
    ["below the base", "between the base and dSFT", "above dSFT"],
    key="without-dsft",
)

# %% tags=["hide-output"]
rows = ("base", "ddpo_without_dsft", "dsft", "few")
mine = dict(run_in_parallel([(pipeline, rows)]))
exams = {name: mine[pipeline.seed][name]["exam"] for name in rows}
display(Markdown(markdown_table(
    ("model", "grade", "right"),
    [
        (
            catalogue.ABLATIONS[name].label, f"{exam['score']:.2f}",
            f"{100 * exam['right']:.1f} %" if "right" in exam else "–",
        )
        for name, exam in exams.items()
    ],
    numbers=(1, 2),
)))

grade = {name: exam["score"] for name, exam in exams.items()}
alone = grade["ddpo_without_dsft"]

# %% tags=["remove-input"]
lessons.explain(
    f"At {alone:.2f}, with the base at {grade['base']:.2f} and dSFT at "
    f"{grade['dsft']:.2f}. Pairs teach the base which of two answers is the better "
    "one; they do not teach it how a conversation goes, or that a question wants an "
    "answer. The paper finds the same, less purely. (Conjecture: Mistral had read many "
    "dialogues on the web, and this base has read none.)",
    key="without-dsft",
    answer=0 if alone < grade["base"] else 1 if alone < grade["dsft"] else 2,
)

# %% [markdown]
# One claim, done as well as one replication allows: dDPO on a quarter of the pairs against dSFT, by both outcomes, paired by
# question:

# %%
for outcome in outcomes.OUTCOMES:
    try:
        gaps = outcomes.paired_values(mine[pipeline.seed], "few", "dsft", outcome)
    except KeyError:  # a judge that knows no right answers
        continue
    if len(gaps) > 1:
        print(f"{outcome:6s} {evaluation.bootstrap_interval(gaps)}")

# %% [markdown]
# That interval covers other questions, and not other trainings. What you should see, with room for another machine's
# rounding:

# %%
if miniature_as_shipped:
    assert grade["dsft"] > grade["base"] + 1, (
        "dSFT taught nothing: was the base model replaced, or learning_rate lowered?"
    )
    assert grade["ddpo_without_dsft"] < grade["dsft"], (
        "dDPO alone answers as well as dSFT: is the base still a base?"
    )

# %% [markdown]
# ## What many replications say
#
# `make claims` measured every row in several replications; the repository stores the results. Look at grade and right answers
# together, because a model can gain in grade while its answers get *less* often right: the judge's ratings pay for a friendly
# opening too. The paper names the same weakness of its judge.

# %%
committed = results.committed()
measured = committed.measured
print(f"{len(measured)} replications, {committed.machine}")
if committed.changed:
    print(
        f"Made before the last change of: {', '.join(committed.changed)}. "
        "`make claims` measures them again."
    )
display(
    Markdown(
        claims.models_table(measured, catalogue.TABLE_3)
        if measured
        else "The repository's results are not here."
    )
)

# %% [markdown]
# ### Table 3, with errors
#
# Each difference with its interval, over replications and questions. Blue circles lie above 0, orange squares below; hollow
# markers mean that the interval includes 0.

# %% tags=["hide-input"]
def effect_of(better, worse, outcome=outcomes.GRADE):
    values = []
    for rows_of in measured.values():
        try:
            values.append(outcomes.paired_values(rows_of, better, worse, outcome))
        except KeyError:  # this replication lacks a row
            continue
    return measure_effect(values) if len(values) > 1 else None


def differences(comparisons, outcome):
    unit = 100 if outcome == outcomes.RIGHT else 1
    found = {}
    for label, (better, worse) in comparisons.items():
        if effect := effect_of(better, worse, outcome):
            ends = dataclasses.astuple(effect.interval())[:3]
            found[label] = tuple(unit * end for end in ends)
    return found


def show_differences(comparisons, what):
    for outcome, unit in ((outcomes.GRADE, "grade"), (outcomes.RIGHT, "points right")):
        if found := differences(comparisons, outcome):
            fig = figures.difference_intervals(
                found, label=f"difference, {unit} (95 % interval)"
            )
            fig.axes[0].margins(y=0.08)  # no row on the frame
            alt = "; ".join(
                f"{label}: {mean:+.2f} [{low:+.2f}, {high:+.2f}]"
                for label, (mean, low, high) in found.items()
            )
            figures.show(fig, alt=alt, caption=f"{what}: {unit}.")

# %% tags=["hide-input"]
in_table_3 = {
    "dSFT-1 over the base": ("dsft", "base"),
    "dDPO + dSFT over dSFT-1": ("ddpo", "dsft"),
    "dDPO without dSFT over dSFT-1": ("ddpo_without_dsft", "dsft"),
    "dSFT-2 over dSFT-1": ("dsft_2", "dsft"),
    "dDPO + dSFT over dSFT-2": ("ddpo", "dsft_2"),
}
show_differences(in_table_3, "Table 3 in miniature")

# %% [markdown]
# In words, by your verdict, on both outcomes (not yet corrected for the number of comparisons):

# %%
decide = exercises.yours(verdict, exercises.check_verdict)
for label, rows_of in in_table_3.items():
    words = []
    for outcome, margin in outcomes.MARGINS.items():
        if effect := effect_of(*rows_of, outcome):
            wide, narrow = (effect.interval(level) for level in (0.95, 0.9))
            ends = (wide.low, wide.high), (narrow.low, narrow.high)
            words.append(f"{outcome} {decide(*ends, margin)}")
    print(f"{label:24s} {', '.join(words)}")

# %% [markdown]
# The *size* of a difference belongs to this world, whose grade is correctness plus manner. And a mean can hide how far
# replications lie apart. dDPO against dSFT, one line each:

# %%
apart = {
    n: [rows_of["ddpo"]["exam"][key] - rows_of["dsft"]["exam"][key]
        for key in ("score", "right")]
    for n, rows_of in measured.items()
    if {"dsft", "ddpo"} <= rows_of.keys()
}
for n, (graded, right) in apart.items():
    print(f"replication {n}: grade {graded:+.2f}, right {100 * right:+.1f} points")
steep = sum(right < -0.1 for _, right in apart.values())
print(f"{steep} of {len(apart)} lose more than ten points of right answers")

# %% [markdown]
# Whoever runs one seed sees one of these lines. (Conjecture: the learning rate was chosen by the grade and lies near the edge
# beyond which a model loses what it knew; in the search the next lower rate kept more answers right.)
#
# ## Figure 3: overfitting, on purpose
#
# The paper trains dDPO for three epochs. After the first, its training accuracy is near perfect, and yet MT-Bench goes on
# rising; but only if dSFT was stopped after one epoch. Here: dDPO on the few pairs for three epochs, after one and after two
# epochs of dSFT, and with an adapter of rank 128 in place of 16, or all weights, which can memorise more pairs. The last two
# are there to *memorise*: their rate was chosen by training accuracy first and by the grade only beyond 0.95.

# %% tags=["remove-input"]
lessons.predict(
    "Three epochs of dDPO on a quarter of the pairs: what becomes of the accuracy on "
    "pairs held out?",
    ["it rises with the training accuracy", "it stays about flat", "it falls"],
    key="held-out",
)

# %% tags=["hide-input", "hide-output"]
def by_epoch(row, values_of):
    found = [values_of(rows_of[row]) for rows_of in measured.values() if row in rows_of]
    return {
        n + 1: dataclasses.astuple(seeds_interval(column))[:3]
        for n, column in enumerate(zip(*found, strict=True))
        if len(column) > 1
    }


def show_epochs(curves, ylabel, caption):
    curves = {name: points for name, points in curves.items() if points}
    if curves:
        said = "; ".join(
            f"{name} {', '.join(f'{p[0]:.2f}' for p in points.values())}"
            for name, points in curves.items()
        )
        figures.show(
            figures.interval_curves(curves, xlabel="epoch of dDPO", ylabel=ylabel),
            alt=f"By epoch: {said}.", caption=caption,
        )
    return curves


accuracy = show_epochs(
    {
        f"{label}, {series.replace('_', ' ')}": by_epoch(
            row, lambda rows_of, series=series: rows_of["accuracies"][series]
        )
        for row, label in (
            ("epochs", "rank 16"),
            ("by_heart", "rank 128"),
            ("all_weights", "all weights"),
        )
        for series in ("train", "held_out")
    },
    "accuracy", "Share of pairs ranked as the teacher did, by epoch.",
)

held = [points[0] for points in accuracy.get("rank 16, held out", {}).values()]
trained = [points[0] for points in accuracy.get("rank 16, train", {}).values()]
moved = held[-1] - held[0] if held else 0.0

# %% tags=["remove-input"]
lessons.explain(
    f"Held out it goes from {held[0]:.2f} to {held[-1]:.2f}, in training from "
    f"{trained[0]:.2f} to {trained[-1]:.2f}; the distance between the two *is* the "
    "overfitting. (The first training value is a mean over the epoch, its first steps "
    "included.) The judge behind these pairs is noisy, so some labels are the wrong "
    "way round, and to rank those 'correctly' they have to be memorised: a "
    "training accuracy near one means just that. In classification overfitting costs "
    "accuracy. In DPO it first costs *calibration*: in Zephyr's own log (Chapter 06) "
    "the model grows surer of its mistakes while its accuracy holds. These rows store "
    "the accuracy alone."
    if held
    else "The repository's results are not here.",
    key="held-out",
    answer=(0 if moved > 0.02 else 2 if moved < -0.02 else 1) if held else None,
)

# %% [markdown]
# Is the paper's left panel reached, a training accuracy near 1? The log takes each step's accuracy *before* the update, so the
# share over the third epoch is that of a model still in training. The finished model, asked again:

# %% tags=["hide-input"]
whole = [
    (rows_of["all_weights"]["accuracies"]["train"][-1], once)
    for rows_of in measured.values()
    if (once := rows_of.get("all_weights", {}).get("accuracy_once_trained"))
]
for name, column in zip(("over the third epoch", "once trained"), zip(*whole)):
    interval = seeds_interval(column)
    reached = sum(value >= 0.95 for value in column)
    print(
        f"all weights, {name}: {interval.estimate:.3f} [{interval.low:.3f}, "
        f"{interval.high:.3f}]; {reached} of {len(column)} replications reach 0.95"
    )

# %% [markdown]
# And the answers, by both outcomes?

# %% tags=["hide-input"]
for key, label in (("score", "grade"), ("right", "share of right answers")):
    show_epochs(
        {
            name: by_epoch(
                row, lambda rows_of, key=key: [exam[key] for exam in rows_of["epochs"]]
            )
            for row, name in (
                ("epochs_after_one", "after one epoch of dSFT"),
                ("epochs", "after two"),
                ("by_heart", "after two, rank 128"),
                ("all_weights", "after two, all weights"),
            )
        },
        label, f"Exam by epochs of dDPO and of the dSFT before it: {label}.",
    )

# %% [markdown]
# In the paper the best model came from one epoch of dSFT and three of dDPO, and after more dSFT, longer dDPO made it worse. Mind
# what the points are. Those at 1 and 2 are taken on the way to 3: their learning rate had not yet fallen to 0, and it was
# searched for the *third* epoch. (The paper does not say whether its points are separate runs.) The fair rival of three epochs
# is a run of one epoch with a rate of its own:

# %% tags=["hide-input"]
last = "epochs_after_one@3"
show_differences(
    {
        "after 1 of dSFT: 3 over 1 on the way": (last, "epochs_after_one@1"),
        "after 1 of dSFT: 3 over 1 of its own": (last, "few_after_one"),
        "after 2 of dSFT: 3 over 1 on the way": ("epochs@3", "epochs@1"),
        "after 2 of dSFT: 3 over 1 of its own": ("epochs@3", "few"),
    },
    "Three epochs of dDPO against one",
)

# %% [markdown]
# What looked like the work of two more epochs was the learning rate's. And the rows that memorise lose to dSFT-1 *at
# the rate at which they memorise*; the search tried lower ones:

# %% tags=["hide-input"]
tried = results.committed_file("search.json").get("all_weights", {}).get("tried", [])
shown_of = ("accuracy_train", 1, ".3f"), ("score", 1, ".2f"), ("right", 100, ".1f")
by_rate = {}
for one in tried:
    by_rate.setdefault(one["learning_rate"], []).append(one)
display(Markdown(markdown_table(
    ("all weights: learning rate", "training accuracy", "grade", "right, %"),
    [
        (
            f"{rate:.0e}",
            *(
                f"{unit * np.mean([one[key] for one in ones]):{form}}"
                for key, unit, form in shown_of
            ),
        )
        for rate, ones in sorted(by_rate.items())
    ],
    numbers=range(4),
)))

# %% [markdown]
# Your own dDPO run of chapter 05, on all the pairs, has both accuracies in its log:

# %%
recipe = pipeline.recipe("ddpo")
log = json.loads((pipeline.ddpo().folder / LOG).read_text())
for name, values in measurements.accuracies_by_epoch(
    log, recipe["num_train_epochs"]
).items():
    print(
        f"{name:9s}",
        ", ".join(f"epoch {n}: {value:.3f}" for n, value in enumerate(values, start=1)),
    )

# %% [markdown]
# ## The loss and its relatives
#
# TRL has a dozen losses on the same four log-probabilities. Let $h_w$ and $h_l$ be the log-ratios of the chosen and the
# rejected answer (log-probability under the policy minus under the reference). The losses differ in how hard a pair pulls,
# given how far apart the two are already. Five of them for one pair:

# %%
def relatives(h_w, h_l, beta=0.1, epsilon=0.1):
    m = beta * (h_w - h_l)
    log_sigmoid = torch.nn.functional.logsigmoid
    return {
        "sigmoid": -log_sigmoid(m),
        "hinge": torch.relu(1 - m),
        "robust": (-(1 - epsilon) * log_sigmoid(m) + epsilon * log_sigmoid(-m))
        / (1 - 2 * epsilon),
        "sppo_hard": (h_w - 0.5 / beta) ** 2 + (h_l + 0.5 / beta) ** 2,
        "apo_zero": 1 - torch.sigmoid(beta * h_w) + torch.sigmoid(beta * h_l),
    }

# %% [markdown]
# The same from the package, on a policy that has moved by $h$ from a reference at 0:

# %%
h_w, h_l = torch.tensor([3.0]), torch.tensor([-2.0])
zero = torch.zeros(1)
for name, ours in relatives(h_w, h_l).items():
    theirs = objectives.LOSSES[name](h_w, h_l, zero, zero, 0.1)
    print(f"{name:10s} {ours.item():8.4f} {theirs.item():8.4f}")
    assert torch.isclose(ours.squeeze(), theirs)

# %% tags=["remove-input"]
lessons.predict(
    "The pull on the chosen answer is $-\\partial L / \\partial h_w$. Which loss "
    "pulls *back* a pair that the policy ranks correctly by 30 nats?",
    ["sigmoid", "hinge", "robust", "SPPO's", "APO-zero"],
    3,
    key="pull",
)

# %% tags=["hide-output"]
pulls, gaps = {}, (-30.0, 0.0, 30.0)
for gap in gaps:
    for name in relatives(zero, zero):
        h = torch.tensor([gap / 2], requires_grad=True)
        relatives(h, torch.tensor([-gap / 2]))[name].sum().backward()
        pulls[name, gap] = -h.grad.item()
names = relatives(zero, zero)
display(Markdown(markdown_table(
    ("gap", *names),
    [(f"{g:+.0f}", *(f"{pulls[n, g]:+.4f}" for n in names)) for g in gaps],
    numbers=range(len(names) + 1),
)))

times = pulls["sppo_hard", 0.0] / pulls["sigmoid", 0.0]

# %% tags=["remove-input"]
lessons.explain(
    f"**SPPO's loss** ({pulls['sppo_hard', 30.0]:+.1f}): it wants $h_w$ at $1 / "
    "2\\beta$ and not beyond. (The loss alone: SPPO itself samples its answers, and "
    "here they come from a data set.) The **hinge** is silent once the margin reaches "
    "one; the sigmoid never quite stops; **robust** DPO pulls hardest where the label "
    "looks wrong. **APO-zero** gives up on pairs it ranks very wrongly: its sigmoid "
    "is flat on both sides. Mind the scale, too: at a gap of zero SPPO's loss pulls "
    f"{times:.0f} times as hard as the sigmoid. One learning rate for all can decide "
    "the contest before it begins, and that is why each has its own.",
    key="pull",
)

# %% [markdown]
# ## Pairs, β and losses
#
# All against the same row: $\beta = 0.1$, random rejected answers, ties dropped, mean score, sigmoid; as many optimiser steps
# each.

# %% tags=["remove-input"]
lessons.predict(
    "For how many of these rows does the interval of the difference in grade exclude "
    "0?",
    ["none or one", "two to four", "five or more"],
    key="ten-rows",
)

# %% tags=["hide-input", "hide-output"]
others = [
    name
    for name in dict.fromkeys(
        (*catalogue.PAIRINGS, *catalogue.BETAS, *catalogue.LOSSES)
    )
    if name != "few"
]
compared = {catalogue.ABLATIONS[name].label: (name, "few") for name in others}
show_differences(compared, "Pairs, β and losses against the plain row")
by_grade = differences(compared, outcomes.GRADE)
apart = [label for label, (_, low, high) in by_grade.items() if low > 0 or high < 0]

# %% tags=["remove-input"]
lessons.explain(
    f"{len(apart)} of {len(by_grade)}"
    + (f": {', '.join(apart)}. " if apart else ". ")
    + "These intervals are not yet corrected for their number; the verdicts below are. "
    "Compare the two figures before you call a row better: a grade pays for being "
    "right and "
    "for manner, and cannot say which of the two was bought."
    if by_grade
    else "The repository's results are not here.",
    key="ten-rows",
    answer=(0 if len(apart) < 2 else 1 if len(apart) < 5 else 2) if by_grade else None,
)

# %%
display(Markdown(claims.models_table(measured, ("few", *others))))

# %% [markdown]
# ## The same dDPO, other pairs
#
# All pairs so far are *off-policy*: four other models wrote the answers, as in UltraFeedback. For **on-policy** pairs the dSFT
# model answers each prompt four times, and the same noisy judge rates what it said; the best answer and a lower one make the
# pair (`zephyr run --on-policy` runs the whole pipeline on such pairs). Judge and number of optimiser steps stay the same; the
# learning rate is each row's own, and here it matters: the grade chose twice the rate for own answers with a random one
# rejected. So that row is here at the others' rate, too. The other control is dSFT on the best of the four: the same samples
# and ratings, without the answers that lost.

# %% tags=["remove-input"]
lessons.predict(
    "Each model against dSFT-1. Which pairs raise the share of right answers most?",
    [
        "other models' answers, a random one rejected",
        "other models' answers, the worst rejected",
        "the model's own answers, a random one rejected",
        "the same at the others' learning rate",
        "the model's own answers, the worst rejected",
        "none of them raises it",
    ],
    key="other-pairs",
)

# %% tags=["hide-input", "hide-output"]
by_pairs = {
    "others' answers, random": ("few", "dsft"),
    "others' answers, worst": ("lowest", "dsft"),
    "own answers, random": ("own_random", "dsft"),
    "own answers, random, others' rate": ("own_random_at_few", "dsft"),
    "own answers, worst": ("own_worst", "dsft"),
    "dSFT on the best of four": ("best_of_4", "dsft"),
}
show_differences(by_pairs, "Against dSFT-1, by what was trained on")
rightness = differences(by_pairs, outcomes.RIGHT)
gains = [rightness[label][0] for label in list(by_pairs)[:-1] if label in rightness]
highest = int(np.argmax([*gains, 0]))  # the last where none is above 0
against = {}
for row in ("own_random", "own_random_at_few"):
    if effect := effect_of(row, "few", outcomes.RIGHT):
        interval = effect.interval()
        against[row] = (
            f"{100 * interval.estimate:+.1f} [{100 * interval.low:+.1f}, "
            f"{100 * interval.high:+.1f}]"
        )

# %% tags=["remove-input"]
lessons.explain(
    "In percentage points of right answers: "
    + "; ".join(
        f"{label} {mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        for label, (mean, low, high) in rightness.items()
    )
    + ". Mind how the rows were tuned: each learning rate was chosen by the grade, and "
    "in most searches a lower one had kept more answers right and gained less grade "
    "(`benchmarks/results/search.json`). Against other models' answers, a random one "
    f"rejected in both: {against['own_random']} points at the rate that the grade "
    f"chose, {against['own_random_at_few']} at an equal one. Compare methods at "
    "several rates before you say which is better."
    if len(gains) == 5
    else "These rows are not measured yet: `make claims` does.",
    key="other-pairs",
    answer=highest if len(gains) == 5 else None,
)

# %% [markdown]
# ## Many comparisons are many chances
#
# With 95 % intervals one in twenty differences that do not exist is "found". Among ten independent comparisons the chance of
# at least one false finding is $1 - 0.95^{10} = 40\,\%$. Holm's correction keeps it at 5 %: sort the p-values, compare the
# smallest with $0.05 / n$, the next with $0.05 / (n - 1)$, and so on; stop at the first that fails.
#
# ````{exercise} Holm's correction
# :label: ex-08-holm
#
# **Difficulty** ●●●●○ · **Minutes** 12
#
# Write `holm(p_values)`. Return a list of `True` and `False`, in the order given: which findings stand at a level of 0.05?
# ````

# %% tags=["exercise"]
def holm(p_values):
    ...  # a list of True and False


exercises.check_holm(holm)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `np.argsort(p_values)` gives the places of the smallest, the next, and so on.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Start with a list of `False`, walk through the sorted places, set `True`, and `break` at the first p-value that is too
# large.
# ```

# %% [markdown]
# `````{solution} ex-08-holm
# :class: dropdown
# ```python
# def holm(p_values):
#     found = [False] * len(p_values)
#     for rank, place in enumerate(np.argsort(p_values)):
#         if p_values[place] > 0.05 / (len(p_values) - rank):
#             break
#         found[place] = True
#     return found
# ```
# `````

# %% [markdown]
# Your function on the comparisons under *Pairs, β and losses*, each row against the plain one, without and with the
# correction:

# %%
stands = exercises.yours(holm, exercises.check_holm)
effects = {name: effect_of(name, "few") for name in others}
p_values = {name: e.p_differs() for name, e in effects.items() if e}
for (name, p), kept in zip(p_values.items(), stands(list(p_values.values()))):
    alone = "found" if p < 0.05 else "not found"
    print(f"{name:12s} p = {p:.4f}: {alone} alone, {'stands' if kept else 'falls'}")

# %% [markdown]
# ## Claim by claim
#
# What the paper or others say, and what the replications gave. Verdicts are corrected within each family, here smaller
# than the list above (the losses alone, say), so a row that falls there can stand here. The family is part of the claim: fix
# it beforehand. `benchmarks/protocol.md` fixed families, margins and outcomes before anything was measured; what was added
# later is dated there, and decided in families of its own. Significance is asked first, so a difference can be certain and yet
# *within the margin*, too small to matter. *80 % power* is the smallest difference that one comparison would find that often,
# 2.80 standard errors; Student's t asks an eighth more, and Holm's correction in a family of five up to half as much again.
# *Holds* and *does not hold* speak of this world and this size alone.

# %%
findings = claims.judge_all(measured)
print("undecided:", ", ".join(undecided(findings)) or "none")
falls = [n for n, kept in zip(p_values, stands(list(p_values.values()))) if not kept]
decided_here = [
    one.claim.better
    for one in findings
    if one.claim.worse == "few" and one.claim.better in falls
    and one.verdict_on(outcomes.GRADE) in ("holds", "does not hold")
]
print("falls above, decided within its family:", ", ".join(decided_here) or "none")
display(Markdown(claims.findings_table(findings)))

# %% [markdown]
# What lies behind a verdict: each difference of grades taken apart, after Kitagawa, into what more or fewer right answers
# make of it and what other grades for right and wrong answers do (manner); of a claim about an accuracy, the accuracies.

# %% tags=["hide-output"]
display(Markdown(reasons_table(findings)))

# %%
artefacts.write_json(
    pipeline.folder / "claims.json", {"seeds": sorted(mine), "measured": mine}
)

# %% [markdown]
# ```{admonition} Common mistakes
# :class: warning
# - **A weak first stage.** dDPO after too short a dSFT looks impressive because it does dSFT's work. Search the baseline as
#   hard as the method.
# - **One learning rate for all.** Losses differ in scale by orders of magnitude; $\beta$ changes it again.
# - **Choosing on the test.** The best of six settings is partly the luckiest. Choose on other questions.
# - **One seed.** A difference without its spread is an anecdote, and all later runs inherit a search with one seed.
# - **One outcome.** A grade that pays for two things cannot say which of them was bought.
# - **Accuracy for quality.** dDPO without dSFT ranks pairs well and cannot answer.
# - **Many comparisons, one star.** Count them before you name the winner.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# With `--feedback FILE.jsonl` (answers rated by any judge, UltraFeedback's schema) all the rows run on your ratings;
# with `--preferences` the pairs are given, and the rows that make other pairs from ratings are left out. The exam stays
# the scale's; for another world write your own questions (chapter 07). A row of your own is one line in
# `zephyr_utils/ablations/catalogue.py` and a claim one entry in `claims.py`; `make claims` measures it.

# %% [markdown]
# ## Recap
#
# 1. You read table 3 with its errors ([exercise](ex-08-errors-apart)), and found its lead on AlpacaEval to be a quarter of a
#    standard error.
# 2. You put Student's interval around a paired difference ([exercise](ex-08-seed-difference)) and turned it into one of four
#    words ([exercise](ex-08-verdict)).
# 3. You saw what a fair comparison costs: a search for every row, over seeds, on other questions
#    ([exercise](ex-08-search-choice)).
# 4. You know what stages, pairs, $\beta$ and losses do here, by the verdicts of [your function](ex-08-verdict), and which of
#    the paper's claims carry over.
# 5. You corrected a table for the number of its rows ([exercise](ex-08-holm)).
#
# ## References
#
# The paper, its table 3 and figure 3 {cite:p}`tunstall2023zephyr`; DPO {cite:p}`rafailov2023dpo`.

# %% tags=["remove-cell"]
decided = {
    word: sum(found.verdict == word for found in findings)
    for word in ("holds", "does not hold", "undecided")
}
metrics = {
    "few_minus_dsft": float(grade["few"] - grade["dsft"]),
    "without_dsft_minus_dsft": float(grade["ddpo_without_dsft"] - grade["dsft"]),
    **{f"claims_{word.replace(' ', '_')}": count for word, count in decided.items()},
}
artefacts.write_metrics(pipeline.folder / "08_ablations", metrics)
