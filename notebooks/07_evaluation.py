# %% [markdown]
# # Evaluation: what a grade is worth
#
# Three models stand at the end of the pipeline: the base, the student after dSFT, and the student after dDPO. This chapter
# asks them the same questions, lets a judge grade the answers, and then does what is skipped too often: it asks how
# sure the figures are, whom they flatter, and what they do not measure. The two protocols are the paper's, MT-Bench
# {cite:p}`zheng2023judging` and AlpacaEval; the error bars of its Table 1 are derived here again, from the raw records
# where you have them.

# %% [markdown]
# ## What you will be able to do
#
# - compute MT-Bench and AlpacaEval figures from raw records, failed judgments and draws included, with their errors;
# - judge two models against each other in both orders, and measure what the judge likes besides the answer: a place, a
#   length, a tone;
# - tell what dDPO improved in *your* model: whether its answers are right more often, or only worded better;
# - decide whether a difference is real: paired by question, over seeds, and with how many questions;
# - recognise figures that must not be believed as they stand: contaminated, of a faulty runner, or of another judge.

# %%
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% [markdown]
# The dials of this run:

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
import math
import os
import re
import textwrap
import warnings
from pathlib import Path
from pprint import pprint

import numpy as np
from IPython.display import HTML, display

from zephyr_utils import evaluation, exercises, figures
from zephyr_utils.pipeline import artefacts
from zephyr_utils.figures import before_after_table
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.published import published_table
from zephyr_utils.pipeline.pipeline import Pipeline

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)

# %% [markdown]
# ## Three models, one set of questions
#
# The questions have MT-Bench's shape: two turns, eight categories, the second turn leaning on the first. None of their
# combinations of names, numbers and words occurs in any text that the student was trained on (twelve were planted in the
# feedback as leaks; [Chapter 04](04_preference_pairs) found them and took them out). The judge is the miniature's teacher,
# a set of rules that knows each right answer; it is called a rule-based judge wherever its grades appear, and **its grades
# are on a scale of their own**: no number on this page may be set beside an MT-Bench score by GPT-4.

# %%
exam = pipeline.setting.exam
judge = exam.judge()
questions = pipeline.questions()
print(len(questions), "questions; the first of every category:")
for question in questions[::20]:
    print(f"{question['category']:>11}:", " | ".join(question["turns"]))

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The judge gives 1 to an answer that is off the question, 2 to a friendly but false one, and 5 to 10 to right ones: 5
# for the bare fact, 2 more for a full sentence, 1.5 each for a friendly opening and closing, a point less where names
# lack their capitals. Write down a mean grade for the base model, for dSFT, and for dDPO.
# ```

# %%
made = pipeline.evaluation()
for name, manifest in made.items():
    result = manifest.results
    print(
        f"{name:>5}: grade {result['score']:.2f}, right {result['right']:.0%}, "
        f"ended by itself {result['ended']:.0%}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The base model has read questions with their answers, but never in the chat template; it goes on writing texts of the kind
# it knows. What it earns above 1, it earns where the text happens to begin with an answer and then to stop; the radar below
# shows where that is. A guess of 5 for it comes from thinking of the middle of the scale: a grade's scale has
# no zero in the middle, and nothing that is not right gets more than 2. dSFT lifts the student because it now answers at
# all. dDPO lifts the grade once more; whether it lifts the share of *right* answers is another question, printed beside
# it, and the subject of a section below.
# ```

# %% [markdown]
# What the judge saw and said is kept as records, in the shapes that MT-Bench's own tools use, so that every figure below
# can be computed again from files.

# %%
answers = {
    name: evaluation.load_rows(manifest.folder / "answers.jsonl")
    for name, manifest in made.items()
}
judgments = {
    name: evaluation.load_rows(manifest.folder / "judgments.jsonl")
    for name, manifest in made.items()
}
pprint(answers["ddpo"][0], sort_dicts=False, width=96)
pprint(judgments["ddpo"][0], sort_dicts=False, width=96)

# %% [markdown]
# ## Protocol one: a grade for each answer
#
# MT-Bench {cite:p}`zheng2023judging` asks a judge for one grade $g_{qt} \in [1, 10]$ of each turn $t$ of each question
# $q$. The judge explains itself in words and closes with `[[7]]`; the score of a model is the plain mean over all
# questions and both turns,
#
# $$\text{score} = \frac{1}{|V|} \sum_{(q,t) \in V} g_{qt},$$
#
# where $V$ are the judgments in which a grade could be read. It is the *last* pair of brackets that counts: a judge quotes,
# and an answer that says `[[10]]` must not set its own grade. Written out once:

# %%
def my_rating(judgment):
    found = re.findall(r"\[\[(\d+\.?\d*)\]\]", judgment)
    return float(found[-1]) if found else -1.0  # -1: the judge gave no grade


def my_score(rows):
    grades = [my_rating(row["judgment"]) for row in rows]
    return sum(grade for grade in grades if grade != -1) / sum(
        grade != -1 for grade in grades
    )


# %% [markdown]
# The package does the same and counts besides: turns, categories, failures by reason, judgments that are missing or
# repeated, and an interval. It is stricter with the brackets: they have to end a judgment that finished, after whatever the
# judge thought before it answered (FastChat takes the first brackets, wherever they stand).

# %%
scores = {
    name: evaluation.mt_bench_score(rows, questions) for name, rows in judgments.items()
}
for name, rows in judgments.items():
    print(scores[name], scores[name].interval)
    assert math.isclose(my_score(rows), scores[name].overall), (
        "the two averages part: "
        "is a grade read from text that the record's score contradicts?"
    )

# %% [markdown]
# ### Judgments that failed
#
# ```{admonition} Predict, then run
# :class: predict
# A judge is a language model and sometimes forgets its brackets. Of the 320 judgments of our dDPO model, let 16 (one in
# twenty) have no grade that can be read; the tools then store -1. By how much does the mean fall if somebody averages
# the column as it stands?
# ```

# %%
broken = [dict(row) for row in judgments["ddpo"]]
for row in broken[::20]:
    row.update(judgment="I would say it is quite good.", score=-1)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    left_out = evaluation.mt_bench_score(broken, questions)
print(
    f"left out: {left_out.overall:.3f}   "
    f"averaged as -1: {np.mean([row['score'] for row in broken]):.3f}"
)
print(said[0].message)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Each -1 stands about (mean + 1) below the mean, seven grades here, so a twentieth of them costs (mean + 1) / 20. "A
# twentieth of -1 is -0.05" forgets that a grade is *replaced* by the -1, not added to it. That fall is as large as many
# differences that papers report, and nothing crashed. The package leaves failed judgments out, counts them, says why each
# failed, and warns.
# ```

# %% [markdown]
# Leaving out is honest only while little is left out: a judge may fail exactly on the long and muddled answers. Above a
# tenth the package refuses, and says so.

# %%
for row in broken[::8]:
    row.update(judgment="I would say it is quite good.", score=-1)
try:
    evaluation.mt_bench_score(broken, questions)
except ValueError as error:
    print(error)

# %% [markdown]
# ### The radar
#
# One mean hides eight. The paper draws its Figure 1 this way, and reports there that Zephyr is strong in writing and
# weak in mathematics and coding; the figure's own numbers were never printed.

# %%
categories = list(scores["base"].by_category)
radar = {
    name: [score.by_category[category] for category in categories]
    for name, score in scores.items()
}
alt = "; ".join(
    f"{name}: " + ", ".join(f"{c} {g:.1f}" for c, g in zip(categories, grades))
    for name, grades in radar.items()
)
figures.show(
    figures.category_radar(categories, radar),
    alt=f"Mean grades by category. {alt}.",
    caption=(
        "Mean grade by category, both turns, rule-based judge. "
        "The scale is this judge's own."
    ),
)

# %% [markdown]
# Look at the shape before the size. With 20 questions a category each corner of the two trained models is uncertain by half
# a grade to a grade either way (95 %), so a dent of that size is no finding; a category in which a model *falls* after dDPO
# by more than that is one.

# %%
change = {
    c: scores["ddpo"].by_category[c] - scores["dsft"].by_category[c] for c in categories
}
for category, gain in sorted(change.items(), key=lambda item: item[1]):
    print(f"{category:>11}: dDPO − dSFT = {gain:+.2f}")

# %% [markdown]
# ## The error of a mean
#
# A score is a mean over *these* questions; other questions of the same kind would have given another. Let question $q$
# contribute the mean of its turns, $x_q$, and let the questions be drawn independently. Then
#
# $$\operatorname{Var}(\bar{x}) = \frac{1}{n^2}\sum_q \operatorname{Var}(x_q) = \frac{\sigma^2}{n}
# \quad\Rightarrow\quad \text{SE} = \frac{s}{\sqrt{n}}, \qquad s^2 = \frac{1}{n-1}\sum_q (x_q - \bar{x})^2 .$$
#
# The $n-1$ pays for $\bar{x}$, which was taken from the same numbers. First by hand:


# %%
def by_question(rows):
    grades = {}
    for row in rows:
        grades.setdefault(row["question_id"], []).append(row["score"])
    # (questions, turns)
    return np.array([grades[question["question_id"]] for question in questions])


def my_standard_error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


# %% [markdown]
# The bootstrap draws the questions again, with replacement, two thousand times and looks how the mean scatters. It knows
# nothing of the formula, and has to agree with it.

# %%
means = {name: by_question(rows).mean(axis=1) for name, rows in judgments.items()}
for name, values in means.items():
    interval = evaluation.bootstrap_interval(values)
    print(
        f"{name:>5}: formula ± {1.96 * my_standard_error(values):.3f}, "
        f"bootstrap [{interval.low:.3f}, {interval.high:.3f}]"
    )
    half = (interval.high - interval.low) / 2
    assert abs(half - 1.96 * my_standard_error(values)) < 0.15 * half + 0.01, (
        "the two errors part: is every question counted once?"
    )

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Each question has two turns, so there are 320 grades and not 160. May the formula use $n = 320$? Will that make the
# error smaller than it is, larger, or leave it alone?
# ```

# %%
for name, rows in judgments.items():
    grades = by_question(rows)
    (var_1, cov), (_, var_2) = np.cov(grades.T)
    together = cov / math.sqrt(var_1 * var_2) if var_1 * var_2 > 0 else 0.0
    print(
        f"{name:>5}: turns correlate at {together:+.2f}; "
        f"n = 320: {my_standard_error(grades.ravel()):.3f}, "
        f"n = 160: {my_standard_error(grades.mean(axis=1)):.3f}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# With a correlation of $\rho$ between the turns the variance of the mean is $(1 + \rho)$ times what $n = 320$ gives (where
# both turns have one mean and one spread; a gap between the two means makes the error of 320 look larger than it is). So it
# depends on $\rho$, and here $\rho$ is small in all three models, so the two errors lie within a tenth: a second turn of
# ours leans on the first *question* more than on the first *answer*. That is a feature of this set and no licence. In public
# judgments of MT-Bench by GPT-4 (five models) $\rho$ lies between 0.44 and 0.69: who misread the first turn fails the second,
# and 320 would promise an error a fifth too small. "More numbers, smaller error" holds for *independent* numbers only:
# grading the same answer ten times would otherwise make any result significant. The unit of an evaluation is the question.
# ```

# %% [markdown]
# ## Protocol two: which of two answers is better
#
# AlpacaEval shows the judge two answers, a baseline's and the model's, and asks which is better; the figure is the
# share of wins, a draw counting one half. In the paper the baseline is text-davinci-003; ours is the dSFT model, so the
# rate says what dDPO changed. A judge that is asked once may follow the *place* of an answer, so we ask twice, with the
# order swapped, and count a win only when both verdicts name the same model. Written out once:


# %%
def my_pair(judge, question, first, second):
    # "A" is the first model here
    straight = judge.compare(question, first, second).winner
    swapped = judge.compare(question, second, first).winner  # and the second model here
    if (straight, swapped) == ("B", "A"):
        return 1.0
    return 0.0 if (straight, swapped) == ("A", "B") else 0.5


# %%
first_turn = {
    name: [row["choices"][0]["turns"][0] for row in rows]
    for name, rows in answers.items()
}
mine = [
    my_pair(judge, q, a, b)
    for q, a, b in zip(questions, first_turn["dsft"], first_turn["ddpo"])
]
print(
    "dDPO against dSFT: "
    f"{100 * np.mean(mine):.2f} % ± {100 * my_standard_error(mine):.2f}"
)

# %% [markdown]
# The package keeps the verdicts as records, counts the outcomes, and turns them into AlpacaEval's annotations, which the
# same function reads that reads the real ones.

# %%
pairs = evaluation.judge_pairs(
    questions, answers["dsft"], answers["ddpo"], judge, "dsft", "ddpo"
)
annotations = evaluation.as_annotations(pairs)
rate = evaluation.alpaca_eval_win_rate(annotations)
print(rate)
assert math.isclose(rate.win_rate, 100 * np.mean(mine)) and math.isclose(
    rate.standard_error, 100 * my_standard_error(mine)
), "the two rates part"

# %% [markdown]
# ```{admonition} Pitfall
# :class: warning
# AlpacaEval's files store a draw as 0 in some runs and as 1.5 in others, and a failed annotation as null; version 2
# stores a failed one as the draw 1.5. Read "0" as a loss, or null as one, and the rate is off without any error. The
# package knows both codings and counts what it left out: `n_missing`, and for version 2 `n_missing_as_draw`.
# ```

# %% [markdown]
# ## From raw records to Table 1
#
# Table 1 of the paper prints, beside each AlpacaEval rate, its standard error. Where every row is won or lost, the
# formula above has nothing left to measure: a score that is 1 with share $p$ and 0 otherwise has variance $p(1-p)$, so
#
# $$\text{SE} \approx 100 \sqrt{\frac{p\,(1-p)}{805}} .$$
#
# ```{admonition} Predict, then run
# :class: predict
# Zephyr-7B-beta's rate is 90.60 % over 805 instructions. From nothing but these two numbers: what error should the paper
# print? And which rates have the largest error, those near 50 %, or those near 100 %?
# ```

# %%
table_1 = [
    row for row in published_table("table_1").rows if row["alpaca_eval"] is not None
]
off = []
for row in table_1:
    p = row["alpaca_eval"] / 100
    ours = 100 * math.sqrt(p * (1 - p) / 805)
    off.append(abs(ours - row["alpaca_eval_error"]))
    print(
        f"{row['model']:>14}: {row['alpaca_eval']:.2f}, "
        f"printed error {row['alpaca_eval_error']:.2f}, from the rate alone {ours:.2f}"
    )
assert max(off) < 0.05, (
    "a printed error is not that of its rate: was the table copied rightly?"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# 1.03, as printed, and every other row comes out too, to a few hundredths: draws make a row's true variance a little
# smaller than $p(1-p)$, and a handful of failed annotations make $n$ a little smaller than 805. The error is largest at
# 50 % (Falcon-Instruct's 1.75) because there each instruction is a coin toss. "The best models are measured least
# surely" is a natural guess, and wrong. So the paper's error bars are those of a mean over instructions, and of nothing
# else: not over seeds of training, not over judges.
# ```

# %% [markdown]
# ### The same from the records themselves
#
# The annotations behind these rates are public, in AlpacaEval's repository under `results/MODEL/alpaca_eval_gpt4/`, with a
# licence (CC BY-NC 4.0) that lets you use them and does not let us ship them. Put a copy of that folder somewhere, name it in the
# environment variable `ZEPHYR_REAL_DATA`, and the next cells compute every rate you have the records of.

# %%
records = os.environ.get("ZEPHYR_REAL_DATA")
# AlpacaEval's own layout, and a slim one (preferences and lengths without the texts).
layouts = ("alpaca_eval_gpt4/annotations.json", "ae1_alpaca_eval_gpt4_slim/*.jsonl")
files = (
    [file for layout in layouts for file in Path(records).rglob(layout)]
    if records
    else []
)
real = evaluation.read_annotations(files)
print(
    f"{len(real)} models' annotations found"
    if real
    else "No raw annotations here: the printed table above stands alone."
)

# %% [markdown]
# Draws, failures and all: each rate and each error has to come out as printed, to the last digit. Failures are left out
# with a warning; here they are counted in the line itself, so the warnings are put aside.

# %%
names = {
    "Zephyr-7B-β": "zephyr-7b-beta",
    "Claude 2": "claude-2",
    "GPT-4": "gpt4",
    "GPT-3.5-turbo": "gpt-3.5-turbo-0301",
    "Llama2-Chat": "llama-2-70b-chat-hf",
    "Guanaco": "guanaco-65b",
    "Falcon-Instruct": "falcon-40b-instruct",
}
warnings.simplefilter("ignore", evaluation.EvaluationWarning)
lines = []
for row in table_1:
    if (name := names.get(row["model"])) in real:
        found = evaluation.alpaca_eval_win_rate(real[name])
        lines.append(
            f"{row['model']:>16}, printed {row['alpaca_eval']:.2f} "
            f"({row['alpaca_eval_error']:.2f}): {found}"
        )
        assert round(found.win_rate, 2) == row["alpaca_eval"], (
            f"{name}: this is not the printed rate; are the annotations of version 1?"
        )
print("\n".join(lines) or "No annotations of Table 1's models here.")

# %% [markdown]
# With errors at hand, read Table 1 again. Zephyr's 90.60 and GPT-3.5-turbo's 89.37 differ by 1.23 points; if the two
# rates were independent, the difference would have the error $\sqrt{1.03^2 + 1.08^2} = 1.49$. The table's order does not
# follow from the table. Neither does one of its ablations (Table 3):

# %%
table_3 = {row["setting"]: row for row in published_table("table_3").rows}
ours, theirs = table_3["dDPO + dSFT"], table_3["dSFT-1"]
gap = ours["alpaca_eval"] - theirs["alpaca_eval"]
error = math.hypot(ours["alpaca_eval_error"], theirs["alpaca_eval_error"])
print(
    "AlpacaEval, dDPO + dSFT minus dSFT-1 (one epoch each): "
    f"{gap:+.2f} ± {1.96 * error:.2f} (95 %)"
)

# %% [markdown]
# The paper's evidence for dDPO over dSFT at one epoch is therefore its MT-Bench gain (7.00 against 6.64), not this pair
# of rates; over 80 questions, as we shall see, that is not much either. The published model had three epochs.
#
# With the records one can do better than add up two errors: both models answered the same instructions, so the
# difference is taken row by row. (Why that is surer follows below.)

# %%
rivals = [
    name
    for name in ("gpt-3.5-turbo-0301", "claude-2", "llama-2-70b-chat-hf")
    if {name, "zephyr-7b-beta"} <= set(real)
]
lines = [
    f"Zephyr-7B-beta minus {name}: "
    f"{evaluation.win_rate_difference(real['zephyr-7b-beta'], real[name])}"
    for name in rivals
]
print("\n".join(lines) or "No annotations of Zephyr and a rival here.")
copies = evaluation.shared_annotations(real) if len(real) > 1 else []
print(f"one set of annotations under two names: {copies or 'none'}")

# %% [markdown]
# ### One model, many figures
#
# | Zephyr-7B-beta | paper | model card | what the records or a newer run say |
# |---|---|---|---|
# | MT-Bench, GPT-4, 80 questions | 7.34 | 7.34 | not recomputed: we hold no judgments of it |
# | AlpacaEval 1, against text-davinci-003 | 90.60 (1.03) | 90.60 | 90.598 (1.029): 727 won, 75 lost, 1 drawn, 2 failed |
# | AlpacaEval 2, against GPT-4 Turbo | – | – | 10.99, length-controlled 13.20 (AlpacaEval's leaderboard) |
# | ARC, HellaSwag | 62.03, 84.52 | 62.03, 84.36 | |
# | MMLU, TruthfulQA | 61.44, 57.44 | 61.07, 57.45 | the last one is contaminated, see below |
#
# Nothing about the model changed between 90.60 and 10.99. The baseline did (text-davinci-003, then GPT-4 Turbo) and the
# judge did. A win rate is a statement about a *pair* of models and a judge.

# %% [markdown]
# ## Judges have tastes, and they can be measured
#
# The paper names two: GPT-4 favours answers of models distilled from it, and long answers. A third is the place an
# answer is shown in. To measure a bias one needs a judge whose bias is *known*; so we take the rule-based judge, blur
# its grades, and lean it.

# %%
class LeaningJudge:
    """Grades by rule, blurred by noise; leans to the first place and to length."""

    name = "leaning"

    def __init__(self, noise=0.0, first=0.0, a_character=0.0, seed=0):
        self.noise, self.first, self.a_character = noise, first, a_character
        self.rng = np.random.default_rng(seed)

    def compare(self, question, a, b):
        gap = judge.grade(question, [a], 1).score - judge.grade(question, [b], 1).score
        gap += (
            self.first
            + self.a_character * (len(a) - len(b))
            + self.noise * self.rng.normal()
        )
        return evaluation.PairwiseJudgment(
            "", "A" if gap > 0.5 else "B" if gap < -0.5 else "tie"
        )


# %% [markdown]
# ### A liking for the first place
#
# ```{admonition} Predict, then run
# :class: predict
# Let the judge's grades be blurred by 2 points, and let it add 2 points to whatever it reads first. What rate does dDPO
# get against dSFT when it is always shown second? Always first? And when both orders must agree?
# ```

# %%
leaning = LeaningJudge(noise=2.0, first=2.0, seed=seed)
leant = evaluation.judge_pairs(
    questions, answers["dsft"], answers["ddpo"], leaning, "dsft", "ddpo"
)
points = {"model_2": 1.0, "tie": 0.5, "model_1": 0.0}
second_place, first_place = (
    100 * np.mean([points[row[game]] for row in leant])
    for game in ("g1_winner", "g2_winner")
)
fair = evaluation.pair_score(leant)
print(
    f"dDPO shown second: {second_place:.1f} %, first: {first_place:.1f} %, "
    f"both orders: {fair.win_rate_2:.1f} %; unbiased judge: {rate.win_rate:.1f} %"
)
print(
    f"contradictory: {fair.n_inconsistent} of {len(leant)}; "
    f"{fair.n_first_place} named the first place twice, "
    f"{fair.n_second_place} the second"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# One order alone tells the place's story: the same answers, the same judge, and tens of points between the two games. In
# one of them dDPO may even seem to lose. Asking in both orders takes most of the lean out, because it pushes once this way
# and once the other. What it cannot give back is the questions that the lean decided: those are contradictory, count one half
# each, and draw the rate towards 50 %. So a biased judge asked in both orders as a rule keeps the sign; it is *less able to
# tell* two models apart. The counts say by how much it leans: places named twice, first against second.
# ```

# %%
assert first_place > second_place + 5, (
    "the lean does not show: is the order swapped in the second game?"
)
assert (
    min(first_place, second_place) < fair.win_rate_2 < max(first_place, second_place)
), "both orders must lie between the two games"

# %% [markdown]
# GPT-4 as judge does this too. Where you hold pairwise MT-Bench records of it (`model_judgment/*pair*.jsonl` in the
# layout of FastChat, MT-Bench's home), the next cell counts its contradictions.

# %%
lines = []
for file in Path(records).rglob("model_judgment/*pair*.jsonl") if records else []:
    score = evaluation.pair_score(evaluation.load_rows(file))
    lines.append(
        f"{score.model_2} against {score.model_1}: {score.n_wins_2} won, "
        f"{score.n_wins_1} lost, {score.n_inconsistent} contradictory, of which "
        f"first place twice {score.n_first_place}, "
        f"second place twice {score.n_second_place}; {score.n_errors} unreadable"
    )
print("\n".join(lines) or "No pairwise judgments here.")

# %% [markdown]
# ### A liking for length
#
# How long are the answers, and does the one that wins tend to be the longer one? The rate in four groups of equal size,
# from the shortest answers (against the baseline's) to the longest:

# %%
for group in evaluation.win_rate_by_length(annotations, n_bins=4):
    print(
        f"{group.length_difference:+6.1f} characters: "
        f"{group.win_rate:5.1f} % ± {group.standard_error:.1f}  ({group.n} questions)"
    )

# %% [markdown]
# A rate with the length taken out: fit a curve to the scores, with $d$ the difference of the two lengths and $s$ the
# standard deviation of $d$,
#
# $$P(\text{model preferred}) = \sigma\big(\theta + \phi \tanh(d / s)\big),$$
#
# and read it off at $d = 0$: $100\,\sigma(\theta)$. The idea is AlpacaEval's length-controlled rate
# {cite:p}`dubois2024length`; the formula is our own and simpler, as theirs also needs a difficulty for each instruction that
# is estimated from many other models. Maximum likelihood by Newton's method, with a weak pull of $\phi$ towards zero:


# %%
def my_length_control(scores, lengths):
    design = np.stack([np.ones(len(lengths)), np.tanh(lengths / lengths.std())], axis=1)
    theta_phi, pull = np.zeros(2), np.diag([0.0, 1.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ theta_phi))
        slope = design.T @ (scores - chance) - pull @ theta_phi
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + pull
        theta_phi += np.linalg.solve(curvature, slope)
    return 100 / (1 + np.exp(-theta_phi[0]))


# %%
lengths = np.array(
    [len(b) - len(a) for a, b in zip(first_turn["dsft"], first_turn["ddpo"])],
    dtype=float,
)
controlled = evaluation.length_controlled_win_rate(annotations)
print(
    f"raw {rate.win_rate:.1f} %, at equal length {controlled.win_rate:.1f} % ± "
    f"{controlled.standard_error:.1f}, phi {controlled.phi:+.2f}"
)
if 0 < rate.win_rate < 100:  # a clean sweep leaves nothing to fit
    assert math.isclose(
        my_length_control(np.array(mine), lengths), controlled.win_rate, abs_tol=1e-4
    ), "the two curves part: characters, or tokens?"

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Now a judge that loves length: a fifth of a point for each character. How far does the raw rate rise above the
# honest judge's? Does length control bring it back to the honest judge's raw rate, to the honest judge's
# *length-controlled* rate, or to neither?
# ```

# %%
lover = LeaningJudge(a_character=0.2, seed=seed)
loved = evaluation.as_annotations(
    evaluation.judge_pairs(
        questions, answers["dsft"], answers["ddpo"], lover, "dsft", "ddpo"
    )
)
loved_rate, loved_controlled = (
    evaluation.alpaca_eval_win_rate(loved),
    evaluation.length_controlled_win_rate(loved),
)
print(
    f"honest judge:      raw {rate.win_rate:5.1f} %   "
    f"length-controlled {controlled.win_rate:5.1f} %   phi {controlled.phi:+.2f}"
)
print(
    f"loves long answers: raw {loved_rate.win_rate:5.1f} %   "
    f"length-controlled {loved_controlled.win_rate:5.1f} %   "
    f"phi {loved_controlled.phi:+.2f}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The lover of length gives the longer answers more, $\phi$ grows, and length control takes that out again: the lover's
# controlled rate falls to within a few points of the honest judge's *controlled* rate, in our run a little below it (the
# curve is a model, and does not fit a strong liking to the last point). That is far from the honest judge's raw rate. For
# look at the honest judge: its own rate changes too, although length means nothing to it. Friendly openings and full
# sentences *are* longer, they *are* what this judge rewards, and a curve in the length cannot tell "liked because it is
# long" from "long because it holds what is liked". A length-controlled rate answers one question, what would be left at
# equal length, and no other: it is not the "true" rate, and can lie further from it than the raw one.
# ```

# %% [markdown]
# Over whole models the connection is plain. Across AlpacaEval's models the longer average answer has the higher rate;
# with raw records of several models at hand, the rank correlation is:

# %%
if len(real) >= 5:
    board = [evaluation.alpaca_eval_win_rate(rows) for rows in real.values()]
    ranks = [
        np.argsort(np.argsort([getattr(r, field) for r in board]))
        for field in ("average_length", "win_rate")
    ]
    print(
        f"Spearman correlation of mean length and win rate over {len(board)} models: "
        f"{np.corrcoef(ranks)[0, 1]:.2f}"
    )
else:
    print("Fewer than five models' annotations here.")

# %% [markdown]
# ### A liking for one's own voice
#
# Our judge is the same teacher who wrote the preferences that dDPO was trained on. That is the miniature's picture of a
# bias the paper admits for GPT-4: the student was optimised for this very taste. But a rule-based judge can be taken
# apart. Each grade is a sum: what is *said* (5 for right, 2 more for a whole sentence, 1 for wrong) and the *tone* (the
# rest: openings, closings, capitals).

# %%
def said_and_tone(name):
    given = [row["choices"][0]["turns"] for row in answers[name]]
    grades = [
        [grade_turn(q["turns"], turns, turn) for turn in (1, 2)]
        for q, turns in zip(questions, given)
    ]
    said = np.array(
        [[5.0 + 2.0 * g.complete if g.right else 1.0 for g in row] for row in grades]
    ).mean(axis=1)
    right = np.array([[g.right for g in row] for row in grades]).mean(axis=1)
    return said, means[name] - said, right


# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# dDPO's mean grade stands above dSFT's by the difference you saw at the top. How much of that difference is *said*, how
# much is *tone*: half and half, mostly the one, or mostly the other?
# ```

# %%
parts = {}
if isinstance(judge, TeacherJudge):
    parts = {name: said_and_tone(name) for name in answers}
    for label, part in zip(("said", "tone", "right"), range(3)):
        line = evaluation.paired_difference(parts["ddpo"][part], parts["dsft"][part])
        print(f"dDPO − dSFT, {label:>5}: {line}")
else:
    print("The judge of this scale checks what is said alone: no part is tone.")
total = evaluation.paired_difference(means["ddpo"], means["dsft"])
print(f"dDPO − dSFT, grade: {total}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The first two lines add up to the last. In the run shown here nearly all of it is tone; what is said, and the share of
# right answers, changed by less than their intervals. (In a run of yours read the same three lines.) Pairs are made of
# answers by other models, so a pair teaches what a good answer *looks* like at least as readily as how to find the right
# one: a friendly opening is one of four short phrases in every pair, a fact is other tokens each time. The win rate told
# the story of the mean grade; neither told this one. Where the tone carries the gain, a reader of the mean grade alone
# calls the model more helpful than it is; had what is said carried it, dDPO would have brought out knowledge that dSFT had
# left buried. Guessing "all of it is knowledge, the pairs were chosen by rightness first" forgets that the gradient takes
# whatever separates chosen from rejected *most cheaply*.
# ```

# %%
if parts:
    gain_said, gain_tone = (
        float(parts["ddpo"][part].mean() - parts["dsft"][part].mean())
        for part in (0, 1)
    )
    print(
        f"of {total.mean:+.2f}: {gain_said:+.2f} by what is said, "
        f"{gain_tone:+.2f} by the tone"
    )
    assert math.isclose(gain_said + gain_tone, total.mean, abs_tol=1e-9), (
        "the parts do not add up to the whole"
    )

# %% [markdown]
# ## Is the difference real?
#
# Two models answered the *same* questions. Hard questions are hard for both, so the difference of two means is surer than
# the two means are:
#
# $$\operatorname{Var}(\bar{x} - \bar{y}) = \frac{\sigma_x^2 + \sigma_y^2 - 2\rho\,\sigma_x\sigma_y}{n} .$$
#
# ```{admonition} Predict, then run
# :class: predict
# For dDPO against dSFT: is the paired error smaller than the unpaired one by a little, by half, or not at all? What must
# be true of $\rho$ for pairing to help?
# ```

# %%
x, y = means["ddpo"], means["dsft"]
paired, unpaired = (
    my_standard_error(x - y),
    math.hypot(my_standard_error(x), my_standard_error(y)),
)
(var_x, cov), (_, var_y) = np.cov(x, y)  # cov is rho times both standard deviations
formula = math.sqrt((var_x + var_y - 2 * cov) / len(x))
print(
    f"difference {np.mean(x - y):+.3f}; error unpaired {unpaired:.3f}, "
    f"paired {paired:.3f} (by the formula {formula:.3f})"
)
print(
    f"rho = {cov / math.sqrt(var_x * var_y):+.2f}"
    if var_x * var_y > 0
    else "one of the two models got the same grade everywhere"
)
assert math.isclose(paired, formula, abs_tol=1e-9), (
    "the formula and the paired error part: is the same ddof used throughout?"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Pairing helps as far as the two models find the same questions hard: $\rho > 0$. The gain is a factor $\sqrt{1-\rho}$ where
# the two spreads are alike. Two unrelated models may have $\rho$ near zero, and then pairing costs nothing and gains nothing.
# It never needs more questions, so there is no reason to leave it out.
# ```

# %% [markdown]
# How often would chance alone make such a difference? If the two models were one, each question's difference might as
# well have had the other sign. So flip the signs at random, ten thousand times, and count. (The package counts the signs as
# they fell among the flips, as one should: its p is never below one in ten thousand, while the count by hand may be 0.)


# %%
def my_p_value(differences, flips=10_000):
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(flips, len(differences)))
    return np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)


# %%
print(f"by hand p = {my_p_value(x - y):.4f}; the package: {total}")
assert abs(my_p_value(x - y) - total.p_value) < 0.02, (
    "the two tests part: flip signs of differences, not of grades"
)
print(f"dSFT − base: {evaluation.paired_difference(means['dsft'], means['base'])}")

# %% [markdown]
# ### What a seed is worth
#
# The intervals so far speak of *other questions*. Two more things could have come out otherwise: the sampling at
# temperature 0.7, and the training itself. The first is cheap to try: ask the dDPO model again, with other seeds.

# %%
import tempfile

from zephyr_utils.chat import load_model
from zephyr_utils.evaluation.exam import run_exam


model, tokenizer = load_model(pipeline.model_directory("ddpo"), dtype="float32")
again = [scores["ddpo"].overall]
for other_seed in (seed + 11, seed + 12):
    with tempfile.TemporaryDirectory() as folder:
        again.append(
            run_exam(
                model, tokenizer, "ddpo", questions, Path(folder), judge,
                seed=other_seed,
                max_new_tokens=exam.max_new_tokens,
                temperature=exam.temperature,
            )["score"]
        )
print(
    f"dDPO: {np.round(again, 2)}, spread of sampling {np.std(again, ddof=1):.3f}, "
    f"error over questions {my_standard_error(means['ddpo']):.3f}"
)

# %% [markdown]
# The error over questions holds this already: each $x_q$ was drawn once, so the noise of its draw is part of $s$. (Three
# draws guess a spread poorly. Where it comes near the error over questions, chance in the draw makes most of that error.)
#
# The seed of the *training* is not in it at all, and no number of questions will show it. `make claims` trains the whole
# pipeline several times, each with a seed of its own. With few seeds the interval has to be Student's,
# $\bar{x} \pm t_{n-1}\,s/\sqrt{n}$; for five, $t_4 = 2.78$ and not 1.96.

# %%
claims = artefacts.read_json(
    Path(zephyr_utils.__file__).parents[1] / "benchmarks" / "results" / "claims.json"
)
trained = [
    rows
    for rows in claims.get("measured", {}).values()
    if {"dsft", "ddpo", "base"} <= set(rows)
]
for better, worse in (("dsft", "base"), ("ddpo", "dsft")):
    for figure in ("score", "right"):
        gaps = [
            rows[better]["exam"][figure] - rows[worse]["exam"][figure]
            for rows in trained
        ]
        if len(gaps) > 1:
            print(
                f"{better} − {worse}, {figure}: {evaluation.seeds_interval(gaps)}, "
                f"by seed {np.round(gaps, 2)}"
            )
if len(trained) < 2:
    print("Several trainings have not been run in this copy: `make claims` does it.")

# %% [markdown]
# Two questions to these lines: does the grade rise with dDPO in *every* training, and does the share of right answers? In
# the five trainings of the miniature that the README reports the first does, by much the same amount each time. The second
# does not: it falls a little in every one, by two or three points of a hundred. The single run above could not tell that
# fall from chance.

# %% [markdown]
# ### When 80 questions are few
#
# The half-width of a 95 % interval is $1.96\,s/\sqrt{n}$. For the *difference* of two models on our questions:

# %%
sizes = np.array([20, 40, 80, 160, 320, 640, 1280])
half = 1.96 * np.std(x - y, ddof=1) / np.sqrt(sizes)
fig, [axes] = figures.figure(height=3.2)
axes.plot(sizes, half, marker="o", label="95 % half-width of the paired difference")
axes.axhline(
    abs(total.mean), linestyle="--", color=figures.COLOURS[1], label="dDPO − dSFT here"
)
axes.set(
    xscale="log", xlabel="questions", ylabel="grades",
    xticks=sizes, xticklabels=sizes, ylim=(0, None),
)
axes.legend()
figures.show(
    fig,
    alt=(
        f"The half-width falls from {half[0]:.2f} at 20 questions to {half[2]:.2f} at "
        f"80 and {half[-1]:.2f} at 1,280; the measured difference is {total.mean:+.2f}."
    ),
    caption=(
        "How finely a set of questions can tell two models apart: "
        "it takes four times the questions to see half the gap."
    ),
)

# %% [markdown]
# And without a formula: draw 80 of our questions again and again, and see how often the order of the two models comes out
# the other way round. dDPO's gap in the miniature is so wide that 80 are plenty. Gaps between good models are not, so the
# last lines ask for how many questions a smaller one would call.

# %%
rng = np.random.default_rng(seed)
of_80 = np.array([rng.choice(x - y, 80).mean() for _ in range(5000)])
print(
    "dDPO − dSFT over 80 questions: 95 % of the draws between "
    f"{np.quantile(of_80, 0.025):+.2f} and {np.quantile(of_80, 0.975):+.2f}"
)
print(
    f"the order comes out as over all {len(x)} in "
    f"{np.mean(np.sign(of_80) == np.sign(total.mean)):.1%} of the draws"
)
# two models that answer alike have no gap to divide
for share in (2, 4, 8) if total.mean else ():
    needed = math.ceil((1.96 * np.std(x - y, ddof=1) / (total.mean / share)) ** 2)
    print(
        f"a gap of 1/{share} of ours, {total.mean / share:+.2f}, "
        f"would have taken {needed:,} questions"
    )

# %% [markdown]
# The same for the real judge, where you have its judgments: how far apart must two models be on MT-Bench's 80 questions?
# In Table 1 Zephyr-7B-beta's 7.34 and Vicuna-33B's 7.12 are 0.22 apart.

# %%
found = (
    [
        row
        for file in Path(records).rglob("model_judgment/*gpt-4_single*.jsonl")
        for row in evaluation.load_rows(file)
    ]
    if records
    else []
)
by_model = {
    name: [row for row in found if row["model"] == name]
    for name in {row["model"] for row in found}
}
board = evaluation.mt_bench_table(found) if found else {}
print(
    f"{len(board)} models' judgments found"
    if board
    else "No judgments of MT-Bench here."
)
ranked = sorted(board, key=lambda name: -board[name].overall)
for better, worse in zip(ranked, ranked[1:]):
    print(
        f"{better} {board[better].overall:.2f}, {worse} {board[worse].overall:.2f}: "
        f"{evaluation.mt_bench_difference(by_model[better], by_model[worse])}"
    )

# %% [markdown]
# In public records of GPT-4's judgments (five models, 80 questions each) the mean grade of a question spreads by three
# points, so a score alone is known to ± 0.65 or 0.7; the paired difference of neighbours to ± 0.4 to ± 0.55. A gap of 0.22 is
# below what the benchmark can tell, whoever is ahead. The gain of Table 3 from dSFT-1 to dDPO + dSFT, 0.36, is too.

# %% [markdown]
# ## Before and after, the same questions
#
# Figures compress; answers do not. One question of each category, all three models, with the grade of the first turn:

# %%
grade_of = {
    (name, row["question_id"], row["turn"]): row["score"]
    for name, rows in judgments.items()
    for row in rows
}
shown = []
for n in range(0, len(questions), 20):
    cells = {
        name: (
            f"{first_turn[name][n]}\n"
            f"[{grade_of[name, questions[n]['question_id'], 1]:g}]"
        )
        for name in answers
    }
    shown.append({"question": questions[n]["turns"][0], **cells})
display(
    HTML(
        before_after_table(
            shown,
            caption="First turns, sampled at temperature 0.7; the grade in brackets.",
        )
    )
)

# %% [markdown]
# Look for three things: answers that are right and bare beside answers that are friendly and false; the same opening again
# and again; and whether an answer ends (the base runs on, and shows role markers that it has met in other texts). Then look
# at the questions where the two models differ most:

# %%
for n in np.argsort(x - y)[[0, 1, -2, -1]]:
    print(
        f"{(x - y)[n]:+.1f}  {questions[n]['turns'][0]}\n"
        f"      dSFT: {first_turn['dsft'][n]!r}\n"
        f"      dDPO: {first_turn['ddpo'][n]!r}"
    )

# %% [markdown]
# ## Figures that are not what they seem
#
# **Contaminated.** Table 2 of the paper has academic tasks without a judge. UltraFeedback, from which Zephyr's pairs were
# made, held prompts of TruthfulQA as one of its sources, and a few more inside others; both had to be removed later. So
# of these four columns one was, in part, seen in training:

# %%
table_2 = published_table("table_2")
for row in table_2.rows:
    if row["model"] in ("Mistral-Instruct v0.1", "Zephyr-7B-β", "Llama2-Chat"):
        print(
            f"{row['model']:>22}",
            {name: row[name] for name in ("arc", "hellaswag", "mmlu", "truthfulqa")},
        )
print(textwrap.fill(table_2.note, 96))

# %% [markdown]
# **Of a faulty runner.** On MedConceptsQA, four choices about medical codes, Zephyr-7B-beta was published at 25 %. Does
# it know nothing of medicine, or was it never asked? Look at the other open models too, in April and in July of 2024:

# %%
medical = published_table("med_concepts_qa")
for row in medical.rows:
    print(
        f"{row['model']}, {row['setting']}, {row['published']}: {row['accuracy']:.1f} %"
    )
low, high = 25.538 - 3.075, 25.538 + 3.075  # as the leaderboard gives it
print(
    f"zero-shot interval [{low:.1f}, {high:.1f}] holds 25: {low < 25 < high}.\n"
    f"Source: {medical.source}"
)

# %% [markdown]
# In April these open models stood at the 25 % of guessing, one of 70 billion parameters too. That is the mark of a
# fault: the runner had put a classification head on each model, and for a causal model such a head is made at random. In
# July the others' figures were replaced, and rose. Zephyr's row was dropped, so **what it scores is unknown**
# ([errata](../errata), 16). A figure at chance is a reason to look at the runner first.
#
# Such tasks are run with EleutherAI's lm-eval, which is an optional extra (`pip install "zephyr-handbook[academic]"`).
# `zephyr evaluate MODEL --academic med_concepts_qa:4` calls it and puts the result into the report; this is the command:

# %%
print(" ".join([
    "python",
    *evaluation.lm_eval_command("MODEL", "arc_challenge", 25, output="results")[1:],
]))
for task in evaluation.ACADEMIC_TASKS:
    print(
        f"{task.title}: {task.shots} shots, {task.metric}, "
        f"Zephyr-7B-beta {task.zephyr} %"
    )

# %% [markdown]
# **Of another judge.** The published 7.34 is a mean of GPT-4's grades in 2023 on 80 questions. A newer judge, another
# prompt, other questions: each moves the scale. Our grades come from rules on questions of a tiny world. Comparing them
# with 7.34 would be comparing degrees of two thermometers of which one shows Celsius and the other has no unit.

# %% [markdown]
# ## Exercises
#
# ```{exercise} A draw is half a win
# :label: ex-07-win-rate
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Compute a win rate between 0 and 1 from a list of `"win"`, `"draw"` and `"loss"`.
# ```

# %% tags=["exercise"]
def win_rate(outcomes):
    ...


exercises.check_win_rate(win_rate)

# %% [markdown]
# ```{admonition} Hint: what two equal models must get
# :class: tip dropdown
# Two copies of one model draw every game. Their rate should be one half.
# ```
#
# ```{admonition} Hint: almost the code
# :class: tip dropdown
# `outcomes.count("win")` counts; divide points by `len(outcomes)`.
# ```

# %% [markdown]
# ````{solution} ex-07-win-rate
# :class: dropdown
# ```python
# def win_rate(outcomes):
#     return (outcomes.count("win") + outcomes.count("draw") / 2) / len(outcomes)
# ```
# Dropping the draws instead would give a model that draws 99 games and wins one a rate of 100 %.
# ````

# %% [markdown]
# ```{exercise} Asked twice
# :label: ex-07-both-orders
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Model 2's score from two verdicts, each `"A"`, `"B"` or `"tie"`: 1 if both games name model 2, 0 if both name model 1,
# else 0.5. In the first game model 1's answer is A, in the second model 2's answer is A.
# ```

# %% tags=["exercise"]
def both_orders(first, second):
    ...


exercises.check_both_orders(both_orders)

# %% [markdown]
# ```{admonition} Hint: name the model first
# :class: tip dropdown
# Translate each letter into a model before you compare anything. What does the pair `("A", "A")` say of the two models?
# ```
#
# ```{admonition} Hint: almost the code
# :class: tip dropdown
# Model 2 has won when `(first, second) == ("B", "A")`. Which pair is model 1's win?
# ```

# %% [markdown]
# ````{solution} ex-07-both-orders
# :class: dropdown
# ```python
# def both_orders(first, second):
#     if (first, second) == ("B", "A"):
#         return 1.0
#     return 0.0 if (first, second) == ("A", "B") else 0.5
# ```
# `("A", "A")` names the first place twice: it says something about the judge and nothing about the models.
# ````

# %% [markdown]
# ```{exercise} The error of a difference
# :label: ex-07-paired-error
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# `a` and `b` are two models' grades on the same questions, as NumPy arrays. Return the standard error of the difference
# of their means.
# ```

# %% tags=["exercise"]
def paired_error(a, b):
    ...


exercises.check_paired_error(paired_error)

# %% [markdown]
# ```{admonition} Hint: one number a question
# :class: tip dropdown
# The difference of the means is the mean of the differences. You know the error of a mean.
# ```
#
# ```{admonition} Hint: almost the code
# :class: tip dropdown
# `np.std(a - b, ddof=1)`, and then?
# ```

# %% [markdown]
# ````{solution} ex-07-paired-error
# :class: dropdown
# ```python
# def paired_error(a, b):
#     return np.std(a - b, ddof=1) / np.sqrt(len(a))
# ```
# ````

# %% [markdown]
# ```{exercise} How many questions?
# :label: ex-07-questions-needed
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# The paired differences of two models have the standard deviation `sd`. What is the fewest number of questions for which
# a true difference of `gap` is at least 1.96 standard errors?
# ```

# %% tags=["exercise"]
def questions_needed(sd, gap):
    ...


exercises.check_questions_needed(questions_needed)

# %% [markdown]
# ```{admonition} Hint: solve for n
# :class: tip dropdown
# Start from $1.96\,\text{sd}/\sqrt{n} = \text{gap}$.
# ```
#
# ```{admonition} Hint: almost the code
# :class: tip dropdown
# Square both sides; `math.ceil` rounds up.
# ```

# %% [markdown]
# ````{solution} ex-07-questions-needed
# :class: dropdown
# ```python
# def questions_needed(sd, gap):
#     return math.ceil((1.96 * sd / gap) ** 2)
# ```
# With `sd = 2.2`, as between neighbours in the public judgments above, and Table 1's gap of 0.22 it takes 385 questions;
# MT-Bench has 80.
# ````

# %% [markdown]
# ## Your turn with your own data
#
# ```{admonition} What goes wrong when you do
# :class: warning
# - Grades of two judges, or of one judge in two years, are not on one scale. Judge all your models again, with one judge.
# - A judge that is asked once follows the place; ask in both orders (`--baseline` does).
# - A judge that failed on the long answers makes them vanish from the mean. Look at `n_failed` before the score.
# - One file copied under two names makes two models "tie". The report compares them and says so.
# - Questions that leaked into training measure memory. Chapter 04 shows how to look for them.
# ```
#
# Each of these writes a page you can keep (`report.html`, which needs no other file, and `report.json`):
#
# - `zephyr evaluate base dsft ddpo --baseline dsft`: what this chapter did;
# - `zephyr evaluate MODEL_DIRECTORY --questions question.jsonl --judge NAME --judge-url URL`: MT-Bench's own 80 questions
#   for a model of yours, at FastChat's temperatures, graded by any model behind an OpenAI-compatible endpoint; every
#   judgment is kept as it comes, so a run that was stopped pays for none twice;
# - `zephyr evaluate answers.jsonl --questions ...`: answers that you have already;
# - `zephyr evaluate --judgments FILE --annotations FOLDER`: records made elsewhere; no model, no judge, no cost.
#
# Then ask of every figure in it: how many questions, which judge, paired with what, and how many seeds.

# %% [markdown]
# ## Recap
#
# - **Figures from raw records:** `my_score` and the package agree to the last digit; failed judgments are left out and
#   counted. The printed errors of Table 1 are $\sqrt{p(1-p)/805}$ (first exercise).
# - **Both protocols, and the judge's tastes:** one order alone follows the place, two orders draw towards one half, and
#   length control takes out good length with the bad (second exercise).
# - **What dDPO improved:** the gain split into what is said and the tone it is said in.
# - **Is it real:** the unit is the question, the difference is paired (third exercise), seeds of training are another
#   source of chance altogether, and 80 questions tell large differences only (fourth exercise).
# - **Figures not to believe as they stand:** TruthfulQA in Table 2, MedConceptsQA by a faulty runner, and any grade
#   beside that of another judge.
#
# [Chapter 08](08_ablations) asks which step of the pipeline the gain comes from.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 4.2 for both benchmarks, Tables 1 to 3, and the limitations of GPT-4 as judge.
# - {cite:t}`zheng2023judging`: MT-Bench, the two judging protocols, the biases of place and length.
# - {cite:t}`dubois2024length`: the length-controlled win rate.
# - {cite:t}`shoham2024medconceptsqa`: MedConceptsQA, whose first leaderboard gave Zephyr's figures.
# - [FastChat](https://github.com/lm-sys/FastChat/tree/main/fastchat/llm_judge) and
#   [AlpacaEval](https://github.com/tatsu-lab/alpaca_eval): the record shapes and the arithmetic of the published figures.

# %% tags=["remove-cell"]
metrics = {f"score_{name}": scores[name].overall for name in ("ddpo", "dsft", "base")}
metrics |= {
    f"right_{name}": manifest.results["right"] for name, manifest in made.items()
}
metrics |= {
    "win_rate_ddpo": rate.win_rate,
    "win_rate_error": rate.standard_error,
    "difference": total.mean,
    "difference_p": total.p_value,
}
metrics |= {"gain_said": gain_said, "gain_tone": gain_tone}
artefacts.write_metrics(pipeline.folder / "07_evaluation", metrics)
