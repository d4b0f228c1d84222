# %% [markdown]
# # AI feedback: a judge rates four models
#
# The student can answer now. To answer *well* it has to learn which of two answers is better, and the paper asks no human
# for that. Each prompt goes to four models, and a stronger model, the *judge*, rates their answers
# {cite:p}`tunstall2023zephyr`. You will write the reader of the judge's replies, treat its ratings as measurements (with
# noise, bias and, in the published set, one famous fault), and collect such feedback over the protocol that every provider
# and local server speaks.

# %% [markdown]
# ## What you will be able to do
#
# 1. Say what a judge is asked, and read its reply strictly: what cannot be read is counted, not guessed.
# 2. Treat a rating as a noisy measurement: what the mean of four gains, and what the overall grade adds.
# 3. Find the famous fault in UltraFeedback's grades, and avoid the rule that made it.
# 4. Collect feedback from any OpenAI-compatible endpoint: estimate the bill, survive a kill, resume.
# 5. Measure position bias by asking a judge twice, and remove it with a Latin square.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (`feedback` takes rated answers of your own, in
# UltraFeedback's schema {cite:p}`cui2023ultrafeedback`) and import what follows.

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
import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from IPython.display import Markdown, display

from zephyr_utils import exercises, figures, lessons, published
from zephyr_utils.data.records import ASPECTS, save_records
from zephyr_utils.explorers.feedback_browser import FeedbackBrowser
from zephyr_utils.feedback import (
    Endpoint, Prices, Unreadable, answer_order, collect_answers, distil_dialogues,
    estimate, rate_answers, read_ratings,
)
from zephyr_utils.feedback.prompts import judge_role, rating_messages
from zephyr_utils.miniature.data import MODELS, aspect_values
from zephyr_utils.miniature.serve import served
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.preferences import mean_rating, overall_rating
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## The real thing
#
# This is the record that UltraFeedback's authors print in their README, with one of its four answers in full. The answering
# model was given a *principle*, drawn at random, as system prompt; here one of helpfulness. The judge was GPT-4.

# %%
real = published.published_record("ultrafeedback_row")
first_answer = real.record["completions"][0]
for name, text in (
    ("prompt", real.record["instruction"]),
    ("principle", first_answer["custom_system_prompt"]),
    (first_answer["model"], first_answer["response"]),
):
    print(f"{name}: {text}\n")
print(real.attribution)

# %% tags=["remove-input"]
lessons.predict(
    "GPT-4 rated this answer from 1 to 5 in four aspects. In which did it do worst?",
    ["instruction following", "honesty", "truthfulness", "helpfulness"],
    0,
    key="cairo",
)

# %% tags=["hide-output"]
for aspect, given in first_answer["annotations"].items():
    print(f"{aspect}: {given['Rating']}. {given['Rationale']}\n")
ratings = {name: given["Rating"] for name, given in first_answer["annotations"].items()}

# %% tags=["remove-input"]
lessons.explain(
    f"Instruction following, with {ratings['instruction_following']} against "
    f"{ratings['honesty']} in each of the others: the family's limits were ignored. "
    "Note that one mistake (rafting on the Nile, diving in Cairo) counts under honesty "
    "*and* under truthfulness. The aspects are not independent, and the mean of four "
    "counts some faults twice. (For truthfulness the judge is also given known "
    "answers, where the data set has any; here it had none.)",
    key="cairo",
)

# %% [markdown]
# ## The paper's second step
#
# Section 3 of the paper calls it **AI feedback**. Models $\pi_1, \dots, \pi_4$ give answers $y_1, \dots, y_4$ to a prompt
# $x$. UltraFeedback has each rated in four aspects, from 1 to 5, and the paper's score is their mean:
#
# $$ s(x, y) = \tfrac14 \sum_{a} r_a(x, y). $$ (eq-03-mean)
#
# The aspects $a$ are instruction following, honesty, truthfulness and helpfulness.
#
# The judge also writes a critique of each answer, which ends in one overall grade from 1 to 10.

# %% [markdown]
# ```{exercise} One score from four ratings
# :label: ex-03-mean-rating
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `score(completion)`: return the paper's score, the mean of the aspects' ratings. They are strings, and some may be
# "N/A"; leave those out.
# ```

# %% tags=["exercise"]
def score(completion):
    ...


exercises.check_mean_rating(score)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The ratings are in `completion["annotations"][aspect]["Rating"]`. Convert only what is a number.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# An aspect that was not rated is missing from the sum *and* from the count.
# ```
#
# ````{solution} ex-03-mean-rating
# :class: dropdown
# ```python
# def score(completion):
#     texts = [annotation["Rating"] for annotation in completion["annotations"].values()]
#     numbers = [float(text) for text in texts if text.isdigit()]
#     return sum(numbers) / len(numbers)
# ```
# ````

# %%
score = exercises.yours(score, exercises.check_mean_rating)
# ready-made pairs come without feedback: the miniature's is read
source = Pipeline(runs=runs, seed=seed) if pipeline.preferences else pipeline
loaded = source.load("feedback", "feedback")
rated = loaded.records
print(
    f"{loaded.n_read:,} rows read = "
    f"{len(rated):,} records + {len(loaded.set_aside):,} set aside"
)
print("the real answer's score:", score(first_answer))
with contextlib.suppress(KeyError, ZeroDivisionError, TypeError):  # without ratings
    print("the scores of row 1:", [score(c) for c in rated[0]["completions"]])

# %% [markdown]
# ## What the judge is asked
#
# UltraFeedback's prompts are long; ours say the same in other words. Here is the one for honesty, as it is sent.

# %%
print(judge_role("honesty"))

# %% [markdown]
# The question and the answers follow, each between marked lines. The mark is a hash of the texts themselves, so no answer can
# know it, close its own block early and give the judge instructions (prompt injection).

# %%
row = rated[0]
answered = [c["response"][:70] for c in row["completions"]]
print(rating_messages("honesty", row["instruction"], answered)[1][1])

# %% tags=["remove-input"]
lessons.predict(
    'Some answers to questions of fact say only "As an AI language model, I do not '
    'have personal opinions". In which aspect will the judge rate such refusals '
    "highest?",
    ["instruction following", "honesty", "truthfulness", "helpfulness"],
    key="refusals",
)

# %% tags=["hide-input"]
def ratings_of(completion):
    texts = [
        (completion["annotations"].get(aspect) or {}).get("Rating", "")
        for aspect in ASPECTS
    ]
    return [float(text) if text.isdigit() else np.nan for text in texts]


answers = [completion for row in rated for completion in row["completions"]]
# (answers, 4), NaN where there is no rating; such answers stay out of the means
table = np.array([ratings_of(answer) for answer in answers])
refuses = np.array(
    ["as an ai language model" in answer["response"].lower() for answer in answers]
)
wrong = np.array(
    [answer["critique"].startswith("The answer is not correct") for answer in answers]
)

# %% tags=["hide-output"]
whole = ~np.isnan(table).any(axis=1)
by_kind = {
    name: table[chosen & whole].mean(axis=0)
    for name, chosen in (
        ("refusals", refuses), ("wrong", wrong), ("others", ~refuses & ~wrong),
    )
    if (chosen & whole).any()
}
names = [aspect.replace("_", " ") for aspect in ASPECTS]
display(Markdown(markdown_table(
    ["answers", *names, "mean"],
    [
        [name, *(f"{value:.2f}" for value in (*values, values.mean()))]
        for name, values in by_kind.items()
    ],
    numbers=range(1, 6),
)))
of_refusals = by_kind.get("refusals", np.full(4, np.nan))
refusal_mean, wrong_mean = of_refusals.mean(), by_kind.get("wrong", of_refusals).mean()
lesson_taught = (
    "refusing beats trying and failing"
    if refusal_mean > wrong_mean
    else "trying and failing beats refusing"
)

# %% tags=["remove-input"]
lessons.explain(
    "There are no refusals here."
    if not np.isfinite(of_refusals).all()
    else f"Highest in {names[int(of_refusals.argmax())]} ({of_refusals.max():.2f}), "
    f"lowest in {names[int(of_refusals.argmin())]} ({of_refusals.min():.2f}): a "
    "refusal says nothing false. A *user* would rate it low in everything. In the "
    f"mean, refusals get {refusal_mean:.2f} and wrong answers {wrong_mean:.2f}, so a "
    f"student trained on it learns that {lesson_taught}. A judge rates what it is "
    "asked, and to take the mean is to decide what matters before any data are seen.",
    key="refusals",
    answer=int(of_refusals.argmax()) if np.isfinite(of_refusals).all() else None,
)

# %% [markdown]
# ## Reading a reply, strictly
#
# The judge is told to write three lines for each answer: `Answer 1`, `Rating: 4`, `Rationale: ...`. As a language model
# it may also write prose, rate three answers of four, or use another scale. The safe rule is *all or nothing*: a reply
# with a 9 in it may be on a scale of ten throughout, and one that lacks an answer may have its ratings in the wrong
# places.

# %% [markdown]
# ```{exercise} Read a judge's reply
# :label: ex-03-read-reply
#
# **Difficulty** ●●●●○ · **Minutes** 25
#
# Write `read_reply(text, count)`: return the ratings of `count` answers as a list of texts, in the order of the answers, or
# None if the reply is invalid. It is valid if each of the answers 1 to `count` has exactly one block, opened by a line
# `Answer n`; in it exactly one line begins with `Rating: `, and the rest of that line is one of 1, 2, 3, 4, 5 and N/A. The
# blocks may come in any order. The chapter reads eight replies with your function.
# ```

# %% tags=["exercise"]
def read_reply(text, count):
    ...


exercises.check_read_reply(read_reply)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `re.split(r"^Answer (\d+)$", text, flags=re.M)` gives what comes first, then number, block, number, block, ...
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Check the numbers first: sorted, they must be 1 to `count`. In each block `re.findall(r"^Rating: (.*)$", block,
# flags=re.M)` must find one text, and that must be one of the six.
# ```
#
# ````{solution} ex-03-read-reply
# :class: dropdown
# ```python
# def read_reply(text, count):
#     parts = re.split(r"^Answer (\d+)$", text, flags=re.M)
#     numbers, blocks = [int(n) for n in parts[1::2]], parts[2::2]
#     if sorted(numbers) != list(range(1, count + 1)):
#         return None
#     ratings = {}
#     for number, block in zip(numbers, blocks):
#         found = re.findall(r"^Rating: (.*)$", block, flags=re.M)
#         if len(found) != 1 or found[0] not in ("1", "2", "3", "4", "5", "N/A"):
#             return None
#         ratings[number] = found[0]
#     return [ratings[number] for number in range(1, count + 1)]
# ```
# ````

# %% [markdown]
# The package's reader follows the same rule and names its reason. It accepts variants that leave no doubt (“**Rating:** 4 out
# of 5”) and nothing else. Both on eight replies:

# %%
read_reply = exercises.yours(read_reply, exercises.check_read_reply)
good = (
    "Answer 1\nRating: 4\nRationale: right\n\n"
    "Answer 2\nRating: N/A\nRationale: it does not apply"
)
replies = {
    "as asked": good,
    "the other order": (
        "Answer 2\nRating: 2\nRationale: b\nAnswer 1\nRating: 5\nRationale: a"
    ),
    "prose": "Both answers are lovely; the first is perhaps a 4.",
    "one missing": good.partition("Answer 2")[0],
    "one twice": good.replace("Answer 2", "Answer 1"),
    "out of range": good.replace("4", "9"),
    "two ratings": good.replace("Rating: 4", "Rating: 4\nRating: 1"),
    "nothing": "",
}

# %%
def package_read(text, count):
    try:
        return [rating["Rating"] for rating in read_ratings(text, count)], ""
    except Unreadable as problem:
        return None, problem.reason


for name, text in replies.items():
    theirs, reason = package_read(text, 2)
    mine = read_reply(text, 2)
    print(f"{name:<16} {mine!s:<14} {reason}")
    assert mine == theirs, f"the two readers differ on {name!r}"

# %% [markdown]
# UltraFeedback's own code took the first number on the rating's line, whatever it was, and asked again at temperature 0 when
# the form was wrong, which mostly brings the same words at the same price. Ours keeps a malformed reply as it came and counts
# it; `--retry-unreadable` asks again for those replies alone.
#
# A 9 does more harm than a missing rating. On a scale of ten the *best* answers are those whose ratings do not fit, and
# leaving out only them reverses the order. A row with one such number gets no ratings at all, and a judge that often writes
# one stops the run.

# %% [markdown]
# ## A rating is a measurement
#
# The miniature has what no real set has: the truth. Its grading rule says what a perfect judge would have given, so each
# rating can be split into truth and error, $r_a = t_a + \varepsilon_a$.

# %%
def truth_of(prompt, response):
    grade = grade_turn([prompt], [response], 1)
    return None if grade is None else [*aspect_values(grade).values(), grade.score]


known = [
    truth_of(record["instruction"], c["response"])
    for record in rated
    for c in record["completions"]
]
has_truth = np.array([truth is not None for truth in known])
# four aspects, then the grade of ten
truths = np.array([truth or [np.nan] * 5 for truth in known])
print(
    f"the truth is known for {100 * has_truth.mean():.1f} % of {len(known):,} answers"
)

# %% [markdown]
# The truth is missing where the rules do not understand a prompt: disguised leaks, which
# [Chapter 04](04_preference_pairs) hunts down. With data of your own it is missing everywhere, and the cells about errors
# say so.

# %% tags=["remove-input"]
lessons.predict(
    "How large is the spread of the mean's error, compared with that of one aspect's?",
    ["about the same", "about half", "about a quarter"],
    key="noise",
)

# %% tags=["hide-output"]
errors = (table - truths[:, :4])[has_truth & whole]
one = four = np.nan
between = np.array([np.nan])
if len(errors):
    one, four = errors.std(axis=0).mean(), errors.mean(axis=1).std()
    between = np.corrcoef(errors.T)[~np.eye(4, dtype=bool)]
    print(
        f"one aspect: {one:.3f}; mean of four: {four:.3f}; ratio {one / four:.2f}; "
        "independent errors would give 2.00"
    )

# %% tags=["remove-input"]
lessons.explain(
    "Without a truth this cannot be measured."
    if not len(errors)
    else f"One aspect has {one / four:.2f} times the spread of the mean. The "
    "miniature's judge draws its four errors independently. Their *sum* has twice the "
    "spread of one, not four times, and the mean is a quarter of that sum. (Rounding "
    "and the ends of the scale explain the small difference from two.) A real judge's "
    "first impression colours all four aspects, so its errors are correlated and the "
    "mean helps less; with *one* error four times it would not help at all.",
    key="noise",
    answer=None if not len(errors) else int(np.searchsorted([1.41, 2.83], one / four)),
)

# %% [markdown]
# The formula behind it: if the errors are independent and have the same spread $\sigma$, then
#
# $$ \operatorname{sd}\Big(\tfrac14 \sum_a \varepsilon_a\Big) = \tfrac{\sigma}{\sqrt 4} = \tfrac{\sigma}{2} . $$ (eq-03-noise)
#
# Are they? Correlations between the *ratings* are high in any set, since good answers are good in most respects. What
# matters are correlations between the *errors*, and those need a truth:

# %% tags=["hide-input"]
pairs_of_aspects = [(i, j) for i in range(4) for j in range(i)]
complete = table[whole]
of_ratings = np.corrcoef(complete.T) if len(complete) > 2 else np.full((4, 4), np.nan)
of_errors = np.corrcoef(errors.T) if len(errors) else np.full((4, 4), np.nan)
display(Markdown(markdown_table(
    ["two aspects", "ratings", "errors"],
    [
        [
            f"{names[j]}, {names[i]}", f"{of_ratings[i, j]:+.2f}",
            f"{of_errors[i, j]:+.2f}",
        ]
        for i, j in pairs_of_aspects
    ],
    numbers=(1, 2),
)))

# %% [markdown]
# ## The mean and the overall grade
#
# The critique's grade is a second measurement of the same answer. According to the paper the chosen answer has the highest
# mean; the script that made the published pairs took the highest overall grade.

# %%
means = np.array(
    [np.nan if (m := mean_rating(answer)) is None else m for answer in answers]
)
overall = np.array(
    [np.nan if (o := overall_rating(answer)) is None else o for answer in answers]
)
both = ~np.isnan(means) & ~np.isnan(overall)
mean_against_overall = (
    np.corrcoef(means[both], overall[both])[0, 1] if both.sum() > 1 else np.nan
)
print(f"correlation {mean_against_overall:.3f} over {both.sum():,} answers")

# %% tags=["remove-input"]
lessons.predict(
    "Plot every answer, its mean rating along x and its overall grade along y. Where "
    "will the top row, the tens, lie?",
    [
        "at the right end",
        "at the right end, and a few at the far left",
        "spread evenly from left to right",
    ],
    key="tens",
)

# %% tags=["hide-input", "hide-output"]
dots = Counter(zip(np.round(means[both] * 4) / 4, overall[both], strict=True))
suspect = both & (overall == 10) & (means <= 2)
near = Counter()  # for the table: the means to whole points
for (mean, grade), count in dots.items():
    near[round(grade), round(mean)] += count
fig, [axes] = figures.figure(height=4.2)
odd = [grade == 10 and mean <= 2 for mean, grade in dots]
colours = [figures.COLOURS[int(lies_apart)] for lies_apart in odd]
x, y = zip(*dots, strict=True) if dots else ((), ())
axes.scatter(x, y, s=[2 + 0.5 * n for n in dots.values()], color=colours, alpha=0.7)
if suspect.any():
    axes.annotate(
        f"{suspect.sum()} tens that all\nfour aspects contradict", (1.0, 8.9),
        color=figures.COLOURS[1], va="center",
    )
axes.set(
    xlabel="mean of the four aspects (1 to 5)", ylabel="overall grade (1 to 10)",
    xlim=(0.9, 5.2), ylim=(0, 10.6),
)
figures.show(
    fig,
    alt=(
        f"Dots rise from bottom left to top right; {suspect.sum()} answers lie apart, "
        "in a thin row at the top left."
    ),
    caption=(
        "Every answer by its two scores; a dot's size is the number of answers. "
        f"{suspect.sum()} of the tens have a mean of at most 2."
    ),
    tables=[figures.FigureTable(
        ["overall grade", *(f"mean about {mean}" for mean in range(1, 6))],
        [
            [f"{grade}", *(f"{near[grade, mean]:,}" for mean in range(1, 6))]
            for grade in range(10, 0, -1)
        ],
        caption="Answers by overall grade and mean of the aspects",
    )],
)

# %%
seen = both & has_truth
follows = {}
for name, values in (("mean rating", means), ("overall grade", overall)):
    follows[name] = (
        np.corrcoef(values[seen], truths[seen, 4])[0, 1] if seen.any() else np.nan
    )
    print(f"{name:<14} against the truth: correlation {follows[name]:.3f}")

# %% tags=["remove-input"]
lessons.explain(
    f"Most tens lie at the right end. {suspect.sum()} lie at the far left: answers "
    "that the same judge found bad in all four aspects have the best possible grade, "
    "and noise of one point cannot do that. On the whole the "
    f"{max(follows, key=follows.get)} follows the truth more closely here "
    f"({follows['overall grade']:.3f} for the grade, {follows['mean rating']:.3f} for "
    "the mean; since our *truth* is itself a grade of ten, this says little about "
    "other judges). But even the better score is spoilt by a few impossible values, "
    "because the maximum of several scores seeks them out: the **winner's curse**.",
    key="tens",
    answer=1 if suspect.any() else 0,
)

# %% [markdown]
# ### Tens that ought to be ones
#
# Look at the corner yourself: *Next contradiction* goes to the points whose two scores are furthest apart, the sliders to any
# other, and each point opens its answers.

# %%
(
    FeedbackBrowser(rated)
    if both.any()
    else "no answer has both a mean rating and an overall grade"
)

# %% [markdown]
# ```{exercise} Find the faulty tens
# :label: ex-03-suspect-tens
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `suspects(rows)` for rows of (mean rating, overall grade), either of which may be None: return the places (0 for the
# first row) of the tens whose mean is at most 2, as a list.
# ```

# %% tags=["exercise"]
def suspects(rows):
    ...


exercises.check_suspect_tens(suspects)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `enumerate` gives the places. What does Python say to `None <= 2`?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# A ten without ratings is not a suspect: nothing contradicts it. Ask `mean is not None` first.
# ```
#
# ````{solution} ex-03-suspect-tens
# :class: dropdown
# ```python
# def suspects(rows):
#     return [
#         n for n, (mean, overall) in enumerate(rows)
#         if overall == 10 and mean is not None and mean <= 2
#     ]
# ```
# ````

# %%
suspects = exercises.yours(suspects, exercises.check_suspect_tens)
places = suspects([(mean_rating(a), overall_rating(a)) for a in answers])
for n in places[:4]:
    print(
        f"{overall[n]:g} | mean {means[n]:.2f} | "
        f"{answers[n]['response'][:36]!r} | {answers[n]['critique'][:30]!r}"
    )
tens = int((overall == 10).sum())
faulty_share = len(places) / tens if tens else 0.0
print(
    f"{len(places)} of {tens:,} tens, {100 * faulty_share:.1f} %, contradict their own "
    "aspects"
)

# %%
if miniature_as_shipped:
    really_bad = truths[suspect & has_truth, 4] <= 2
    print(
        f"of {len(really_bad)} suspects, "
        f"{100 * really_bad.mean():.0f} % are bad answers by the truth"
    )

# %% [markdown]
# In the real set 2,628 answers had a ten, and many of them should have been a one. They were found as here: by sorting,
# and by reading critiques that did not fit their grade. The code evaluated what the judge had written, so that "7/10"
# became 0.7; then it took any grade not above 1 for such a fraction, and multiplied it by ten.

# %%
def historic(grade):
    return grade if grade > 1 else 10 * grade


print({grade: historic(grade) for grade in (0.7, 1, 2, 9, 10)})

# %% [markdown]
# A repair for 0.7 and a disaster for 1; `>=` in place of `>` would have told them apart. UltraFeedback's correction of
# December 2023 went by the mean of the aspects; its rule is an exercise of [Chapter 04](04_preference_pairs). A reader that
# never rescales has no such corner.

# %% [markdown]
# ```{exercise} A grade that stays what it is
# :label: ex-03-read-grade
#
# **Difficulty** ●●○○○ · **Minutes** 15
#
# Write `read_grade(text)` for what follows "Overall grade:". Return the number for "7", "7.5" or "7/10", grades from 1 to 10;
# for anything else, such as "7/5", return None. Do not repeat the famous fault.
# ```

# %% tags=["exercise"]
def read_grade(text):
    ...


exercises.check_read_grade(read_grade)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `re.fullmatch` with an optional "/10" at the end. Strip spaces first.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Check the range last, with both ends included, and never rescale: a number below 1 is an invalid grade, not a fraction.
# ```
#
# ````{solution} ex-03-read-grade
# :class: dropdown
# ```python
# def read_grade(text):
#     found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/10)?", text.strip())
#     if not found or not 1 <= float(found[1]) <= 10:
#         return None
#     return float(found[1])
# ```
# ````

# %% [markdown]
# ## Collecting it
#
# For $P$ prompts with $M$ answers each, all $M$ shown at once in each aspect, a set takes
#
# $$ \text{calls} = P \, (\underbrace{M}_{\text{answers}} + \underbrace{4}_{\text{aspects}} + \underbrace{M}_{\text{critiques}}). $$ (eq-03-calls)

# %%
read_grade = exercises.yours(read_grade, exercises.check_read_grade)
print([read_grade(text) for text in ("1", "7/10", "7/5", "0.7")])
for prompts_of_set in (48, 64_000):
    print(f"{prompts_of_set:,} prompts: {prompts_of_set * (4 + 4 + 4):,} calls")

# %% [markdown]
# UltraFeedback's 64,000 prompts make three quarters of a million calls: at one per second, nine days. So make many calls at
# once, and never pay twice for the same one.
#
# | who answers | start it | `--base-url` |
# |---|---|---|
# | models you trained | `transformers serve --host 127.0.0.1 --port 8000` | `http://127.0.0.1:8000/v1`, models named by their directory |
# | vLLM | `vllm serve MODEL` | `http://127.0.0.1:8000/v1` |
# | Ollama | `ollama serve` | `http://127.0.0.1:11434/v1` |
# | any provider | a key in `OPENAI_API_KEY` | the provider's address; none for OpenAI |
# | the miniature's stand-ins | `python -m zephyr_utils.miniature.serve` | `http://127.0.0.1:8901/v1` |
#
# All speak the same protocol; only address and key differ. Here the last row serves, inside this notebook. **It is a
# stand-in**: four models that draw their answers by rule, and judges that know the miniature world's truth, since a model
# of a million parameters could not judge. Everything between them and us is real: HTTP, many calls at once, failures, the
# journal.

# %%
stack = contextlib.ExitStack()
here = Endpoint(stack.enter_context(served()))
folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
world = Pipeline(runs=runs, seed=seed).load("feedback", "feedback").records[:48]
prompts = [record["instruction"] for record in world]
print(here.url, "·", ", ".join(MODELS))

# %% [markdown]
# One call to a model, without any of our code around it:

# %%
async with here.client(timeout=60) as client:
    reply = await client.chat.completions.create(
        model=next(iter(MODELS)), messages=[{"role": "user", "content": prompts[0]}]
    )
print(prompts[0], "->", reply.choices[0].message.content)

# %% [markdown]
# ```{exercise} What is still to be asked
# :label: ex-03-missing-calls
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# A run was killed. `done` is the set of calls, `(model, prompt)`, whose replies are on disk. Write
# `missing_calls(prompts, models, done)`: return the list of calls still to be made, each once, even if a prompt repeats.
# ```

# %% tags=["exercise"]
def missing_calls(prompts, models, done):
    ...


exercises.check_missing_calls(missing_calls)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Two loops, one over prompts and one over models. A prompt that one model has answered is not finished.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `dict.fromkeys(...)` keeps the order and drops what repeats.
# ```
#
# ````{solution} ex-03-missing-calls
# :class: dropdown
# ```python
# def missing_calls(prompts, models, done):
#     calls = dict.fromkeys((model, prompt) for prompt in prompts for model in models)
#     return [call for call in calls if call not in done]
# ```
# ````

# %% [markdown]
# With it the core of a collector is short: a client, a semaphore that limits the calls under way, and a dictionary of the
# replies so far.

# %%
missing_calls = exercises.yours(missing_calls, exercises.check_missing_calls)


async def my_collect(prompts, models, done, at_once=16):
    places = asyncio.Semaphore(at_once)

    async def ask(client, model, prompt):
        async with places:
            reply = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": prompt}]
            )
            done[model, prompt] = reply.choices[0].message.content

    async with here.client(timeout=60) as client:
        calls = missing_calls(prompts, models, set(done))
        await asyncio.gather(*(ask(client, *call) for call in calls))

# %% [markdown]
# A dozen prompts through this collector and the package's. The stand-ins answer a request always alike, so the two can be
# compared word by word.

# %%
done = {}
await my_collect(prompts[:12], list(MODELS), done)
first = collect_answers(
    prompts[:12], list(MODELS), endpoint=here, journal=folder / "first.jsonl"
)
same = [
    done[c["model"], r["instruction"]] == c["response"]
    for r in first
    for c in r["completions"]
]
assert all(same), "the two collectors got different answers"
print(f"{len(same)} answers, all the same")
print(first.report())

# %% [markdown]
# What the short one lacks matters over nine days: a wait after "429, too many requests", a time limit for a server that
# hangs, another try after a lost connection, a stop when the key is refused, a file that survives a kill, and the
# accounting. Nor need a reply with status 200 be an answer: a reasoning model may spend its whole token limit on
# thoughts. The package stores no thoughts as answers, and counts a reply without an answer by its reason.

# %% [markdown]
# ### The bill before it is paid

# %% tags=["remove-input"]
lessons.predict(
    "48 prompts, four answers each, four aspects, a critique of every answer. The "
    "judge costs five times as much per token as the models. Which stage will cost "
    "most?",
    ["the answers", "the four ratings", "the critiques"],
    key="bill",
)

# %%
# a million tokens in, out; made up
prices = Prices(
    {**dict.fromkeys(MODELS, (0.5, 1.5)), "stand-in-teacher": (2.5, 7.5)},
    currency="coins",
)
journal = folder / "journal.jsonl"
judge = "stand-in-teacher"
plan = {"endpoint": here, "journal": journal}
before = estimate(prompts, list(MODELS), judge, **plan)
print(f"{before.calls:,} calls; nothing was sent for this estimate")

# %% [markdown]
# Without measurements the estimate has to assume that every reply runs to its limit. A first run of six prompts puts replies
# into the **journal**, the file that keeps every reply, and the estimate of the rest goes by them.

# %% tags=["hide-output"]
trial = collect_answers(prompts[:6], list(MODELS), **plan)
rate_answers(trial, judge, **plan)
after = estimate(prompts, list(MODELS), judge, **plan)


STAGES = {"answer": "answers", "rate": "ratings"}


def by_stage(plan):
    stages = Counter()
    for (purpose, model), (usage, _) in plan.rows.items():
        stages[STAGES.get(purpose.split()[0], "critiques")] += prices.cost(model, usage)
    return stages


expected, most = after.cost(prices)
stages, at_first = by_stage(after), by_stage(before)
rows_of_table = [[s, f"{at_first[s]:.4f}", f"{stages[s]:.4f}"] for s in stages]
display(Markdown(markdown_table(
    ["stage", "estimate before, coins", "after six prompts, coins"],
    [*rows_of_table, ["together", f"{before.cost(prices)[0]:.4f}", f"{expected:.4f}"]],
    numbers=(1, 2),
)))

# %% [markdown]
# Now all 48 prompts. The replies to the first six come from the journal and cost nothing more.

# %% tags=["hide-output"]
collected = collect_answers(prompts, list(MODELS), **plan)
teacher = rate_answers(collected, judge, **plan)
used = {**collected.calls.usage, **teacher.calls.usage}
paid = sum(prices.cost(model, usage) for model, usage in used.items())
shares = {model: prices.cost(model, usage) / paid for model, usage in used.items()}
print(teacher.report(prices))
print(f"paid {paid:.4f}, expected {expected:.4f}")
largest = max(stages, key=stages.get)

# %% tags=["remove-input"]
lessons.explain(
    f"The judge is {shares['stand-in-teacher']:.0%} of the bill, and the largest stage "
    f"is *{largest}* ({stages[largest] / sum(stages.values()):.0%} of the estimate). "
    "Each aspect sends the question, all four answers and the scale again, so what "
    "the judge *reads* outweighs what anybody writes: what counts is how many times a "
    f"text is sent. After six prompts the estimate ({expected:.4f}) is within "
    f"{abs(expected / paid - 1):.0%} of what was paid ({paid:.4f}); before, it was "
    f"{before.cost(prices)[0] / paid:.1f} times too high. (Calls that were *asked for "
    "twice*: two models gave the same answer, and one critique serves both.)",
    key="bill",
    answer=["answers", "ratings", "critiques"].index(largest),
)

# %% [markdown]
# ### Killed, and resumed
#
# `zephyr feedback` on the command line calls the same functions. Here it runs as a separate process, against a server
# that takes 30 ms per reply. After 60 replies we kill it, with the signal that no program can catch.

# %% tags=["remove-input"]
lessons.predict(
    "20 prompts and four models are 80 calls, eight under way at once. The process is "
    "killed when its journal has 60 lines. How many calls does the second run make?",
    [
        "80: it starts over", "exactly those missing from the journal",
        "the missing ones and eight more",
    ],
    1,
    key="kill",
)

# %% tags=["hide-input"]
slow = Endpoint(stack.enter_context(served(delay=0.03)))
save_records(
    [{"prompt": prompt} for prompt in list(dict.fromkeys(prompts))[:20]],
    folder / "prompts.jsonl",
)
command = [
    sys.executable, "-m", "zephyr_utils", "feedback",
    folder / "prompts.jsonl", "--output", folder / "out.jsonl",
    "--models", ",".join(MODELS), "--base-url", slow.url,
    "--concurrency", "8", "--journal", folder / "killed.jsonl",
]
command = list(map(str, command))

# %%
def lines_in(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
while lines_in(folder / "killed.jsonl") < 60 and process.poll() is None:
    time.sleep(0.002)
process.kill()
process.wait()
kept = lines_in(folder / "killed.jsonl")
print(f"killed, exit status {process.returncode}; {kept} replies in the journal")

# %% [markdown]
# The same command again, to the end.

# %% tags=["hide-output"]
second = subprocess.run(command, capture_output=True, text=True)
print("\n".join(second.stdout.splitlines()[:3]))
assert second.returncode == 0, second.stderr
assert f"80 calls = {kept} from the journal + {80 - kept} made" in second.stdout, (
    "a reply was lost or paid for twice"
)

# %% tags=["remove-input"]
lessons.explain(
    f"{80 - kept:d}, exactly what is missing: each line was handed to the operating "
    "system at once, so the kill could not take it back. The server may have answered "
    "up to eight more, those under way at the kill. The second run knows which, since "
    "each call is noted beside the journal *before* it is sent, and sends them again "
    "under the same `Idempotency-Key`. A server that honours this header returns its "
    "first answer and charges nothing. Ours does not, so those calls are the price of "
    "a kill. *Ctrl-C* costs nothing: the run waits for the calls under way, and ends.",
    key="kill",
)

# %% [markdown]
# ### Dialogues by the same means
#
# The paper's first step makes dialogues in the same way: a seed prompt, the teacher's answer, then the teacher writes the
# *next* request from what was said. `distil_dialogues` does so, with the same journal and accounting. (The stand-in's
# follow-up may change the subject, and some of its answers are wrong on purpose.)

# %%
opening = next((p for p in prompts if "capital" in p.lower()), prompts[0])
[dialogue] = distil_dialogues(
    [opening], "stand-in-teacher", turns=2, endpoint=here
).records
for message in dialogue["messages"]:
    print(f"{message['role']:>9}: {message['content']}")

# %% [markdown]
# ## Position bias
#
# Judges have **position bias**: they favour an answer for where it is shown {cite:p}`zheng2023judging`. UltraFeedback
# reshuffled the answers for each aspect, which makes the bias random. At the same price a **Latin square** removes it:
# shuffle once per prompt, then rotate the order by one position with each aspect. With four answers and four aspects each
# answer is shown once in each position. If the judge adds $b_k$ in position $k$, the mean of *every* answer gains the same:
#
# $$ \tfrac14 \sum_{a} \big( r_a + b_{k(a)} \big) = s + \tfrac14 \sum_{k=1}^{4} b_k . $$ (eq-03-latin)
#
# Follow answer A through the four requests, from the first position to the last, the third and the second:
#
# ![Four answers to one question, A to D. A grid has a row for each aspect that the judge rates and a column for each
# position: ABCD, then BCDA, CDAB, DABC. Answer A, in blue, appears once in each column, and so does every other. Under
# the columns is what the judge adds in that position, b1 to b4: each answer collects all
# four.](figures/latin-square.svg)
#
# *Four answers to “What is the capital of Spain?” and the order in which the judge reads them for each aspect. Each
# column has every answer once, so each answer collects the bias of every position.*

# %%
def rotated(order, aspect):
    turn = ASPECTS.index(aspect) % len(order)
    return order[turn:] + order[:turn]


start = answer_order(row["instruction"], 4, ASPECTS[0])
display(Markdown(markdown_table(
    ["aspect", "first", "second", "third", "last"],
    [
        [name, *(f"answer {n}" for n in rotated(start, aspect))]
        for name, aspect in zip(names, ASPECTS, strict=True)
    ],
)))

# %% [markdown]
# Each column has every answer. The package uses the same orders:

# %%
for each in rated[:500]:
    orders = [answer_order(each["instruction"], 4, aspect) for aspect in ASPECTS]
    assert orders == [rotated(orders[0], aspect) for aspect in ASPECTS]
    assert all(sorted(column) == [0, 1, 2, 3] for column in zip(*orders, strict=True))
print("each answer once in each position, in every row")

# %% [markdown]
# Ratings given in a shuffled order have to be put back into the order of the answers.

# %% [markdown]
# ```{exercise} Undo the shuffle
# :label: ex-03-undo-order
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# The judge saw the answers in another order: in position $k$ was answer `places[k]`, and it got `ratings[k]`. Write
# `undo(ratings, places)`: return the list of ratings in the order of the answers, 0 first. For ratings 5, 3, 4 of answers
# 2, 0, 1 that is 3, 4, 5.
# ```

# %% tags=["exercise"]
def undo(ratings, places):
    ...


exercises.check_undo_order(undo)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Begin with an empty list of the right length and fill it: whose rating is `ratings[k]`?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `result[places[k]] = ratings[k]`. The other way round, `ratings[places[k]]`, shuffles a second time.
# ```
#
# ````{solution} ex-03-undo-order
# :class: dropdown
# ```python
# def undo(ratings, places):
#     result = [None] * len(places)
#     for rating, answer in zip(ratings, places):
#         result[answer] = rating
#     return result
# ```
# ````

# %%
undo = exercises.yours(undo, exercises.check_undo_order)
bonus = [2.0, 1.0, 0.0, -1.0]  # what a biased judge adds in each position
quality = np.array([3.0, 4.0, 2.0, 5.0])  # of answers 0 to 3
ratings_undone = []
for aspect in ASPECTS:
    order = rotated(start, aspect)
    shown = [quality[answer] + bonus[place] for place, answer in enumerate(order)]
    ratings_undone.append(undo(shown, order))
gained = np.mean(ratings_undone, axis=0) - quality
print("what each answer gains in the mean:", gained.round(6))
assert np.allclose(gained, np.mean(bonus)), "the bias does not cancel: is undo right?"

# %% [markdown]
# ## What a judge gets wrong
#
# Without a truth there is still a test: ask twice, the second time with the answers in reverse order. Four stand-in
# judges take it. All know the truth; one adds nothing, one adds noise (it is the judge of our records), one favours the
# first position, one favours length. The biases are planted, so we can see whether the measurement finds them.

# %% [markdown]
# ```{exercise} What is the first position worth?
# :label: ex-03-place-bonus
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# The same answers were rated twice, once shown first and once shown last. Write `place_bonus(first, last)` for these two
# lists of ratings: return the mean number of points that being shown first is worth. Above 0, the judge favours the first
# position.
# ```

# %% tags=["exercise"]
def place_bonus(first, last):
    ...


exercises.check_place_bonus(place_bonus)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The quality of an answer is the same both times. What happens to it in a difference?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Keep the sign: chance has to be able to cancel.
# ```
#
# ````{solution} ex-03-place-bonus
# :class: dropdown
# ```python
# def place_bonus(first, last):
#     return sum(a - b for a, b in zip(first, last)) / len(first)
# ```
# ````

# %% tags=["remove-input"]
lessons.predict(
    "One of the biased judges agrees with itself *every* time the order is reversed. "
    "Which?",
    [
        "the one that favours the first position", "the one that favours length",
        "neither does",
    ],
    key="twice",
)

# %%
place_bonus = exercises.yours(place_bonus, exercises.check_place_bonus)
judged = [record for record in world if truth_of(record["instruction"], "") is not None]


def mean_ratings(judge, order):
    got = rate_answers(judged, judge, endpoint=here, critiques=False, order=order)
    assert not got.calls.failed and not got.unreadable, got.report()
    return np.array(
        [[mean_rating(answer) for answer in record["completions"]] for record in got]
    )


exact = mean_ratings("stand-in-exact", "given")
asked = {
    j: [mean_ratings(j, order) for order in ("given", "reversed")]
    for j in ("stand-in-teacher", "stand-in-place", "stand-in-length")
}
asked["stand-in-exact"] = [exact, mean_ratings("stand-in-exact", "reversed")]

# %% [markdown]
# Three numbers for each judge. *Same best*: the share of prompts with the same best answer both times. *Position*: your
# `place_bonus` of the answers shown first and last. *Length*: how strongly the relative length of an answer correlates with
# what the judge gives it beyond the exact rating.

# %% tags=["hide-output"]
lengths = np.array(
    [[len(c["response"]) for c in record["completions"]] for record in judged]
)
longer = np.log2(lengths / np.median(lengths, axis=1, keepdims=True))
twice = {}
for judge, (given, turned) in asked.items():
    same_best = (given.argmax(1) == turned.argmax(1)).mean()
    shown_first = [*given[:, 0], *turned[:, -1]]
    shown_last = [*turned[:, 0], *given[:, -1]]
    beyond = (given + turned) / 2 - exact
    length = np.corrcoef(longer.ravel(), beyond.ravel())[0, 1] if beyond.any() else 0.0
    twice[judge] = (same_best, place_bonus(shown_first, shown_last), length)
display(Markdown(markdown_table(
    ["judge", "same best", "position", "length"],
    [
        [j, f"{100 * s:.0f} %", f"{p:+.2f}", f"{r:+.2f}"]
        for j, (s, p, r) in twice.items()
    ],
    numbers=(1, 2, 3),
)))
by_length, by_place = twice["stand-in-length"], twice["stand-in-place"]
noisy = twice["stand-in-teacher"]

# %% tags=["remove-input"]
lessons.explain(
    f"The judge that favours length names the same best answer in {by_length[0]:.0%} "
    f"of the prompts, although its *length* is {by_length[2]:+.2f}: **length bias** "
    "does not depend on the order, so this test misses it. It shows only beside "
    "something else, exact ratings here, length control in Chapter 07. The judge with "
    f"position bias agrees with itself in {by_place[0]:.0%}, and being first is worth "
    f"{by_place[1]:+.2f} points to it. (Two were planted, one more for the first "
    "place, one less for the last; the ends of the scale cut off the rest.) The noisy "
    f"judge contradicts itself too ({noisy[0]:.0%}), but its *position* is "
    f"{noisy[1]:+.2f}. *Agreement alone cannot tell bias from noise; the signed "
    f"difference can.* (Its *length* is {noisy[2]:+.2f}, although none was planted: at "
    "the ends of a scale errors go one way only. Compare such a correlation with that "
    "of a judge you trust.)",
    key="twice",
    answer=1 if by_length[0] == 1 else 2,
)

# %% [markdown]
# ### Removing it
#
# By equation {eq}`eq-03-latin` the rotated order cancels position bias in the mean, for the same number of calls;
# rounding and the ends of the scale disturb it a little. How often is the biased judge's best answer truly among the
# best?

# %%
def truly_best(ratings):
    picked = exact[np.arange(len(exact)), ratings.argmax(1)]
    return float((picked == exact.max(1)).mean())


fixed_order = np.mean([truly_best(ratings) for ratings in asked["stand-in-place"]])
rotated_order = truly_best(mean_ratings("stand-in-place", "rotated"))
print(
    f"fixed order {100 * fixed_order:.0f} %, "
    f"rotated {100 * rotated_order:.0f} % of the best answers are truly best"
)

# %% [markdown]
# ### What you should see
#
# These hold for the miniature as it is shipped. If one fails, its message says where to look. (They have
# not been tried with a real judge.)

# %%
if miniature_as_shipped:
    assert 1.6 < one / four <= 2.2, (
        "independent errors should halve in the mean; look at `table` and `truths`"
    )
    assert 0.005 < faulty_share < 0.08, (
        "a few in 100 tens are faulty; is `suspects` a mean of at most 2 and a 10?"
    )
    assert abs(expected / paid - 1) < 0.2, (
        "six prompts should predict the bill; was the journal emptied?"
    )
    assert twice["stand-in-place"][1] > 0.8 > abs(twice["stand-in-teacher"][1]), (
        "the planted position bias was not found"
    )
    assert twice["stand-in-exact"][0] == 1, (
        "a judge without noise contradicts itself: is the order undone?"
    )
    assert rotated_order >= fixed_order, (
        "rotation should not do worse than a fixed order here"
    )
    print("all as expected")

# %% [markdown]
# ### Side by side
#
# | | paper, sections 3 and 4.1 | UltraFeedback's code | ours |
# |---|---|---|---|
# | models per prompt | 4 | 4 of 17 | any number; the chapter 4 |
# | what the models are told | not said | a drawn principle as system prompt | nothing |
# | judge | GPT-4 | `gpt-4`; the critique's function is *called* with `gpt-4-0613` and ignores it | any endpoint; here a rule-based stand-in |
# | the judge's world knowledge | not said | for truthfulness: known answers, where the source has them | none; the stand-in knows the truth |
# | temperature of the judge | not said | 0 | 0 |
# | order of the answers | not said | reshuffled for each aspect | shuffled once, then rotated (Latin square) |
# | malformed reply | not said | asked again | kept, counted, left out; asked again on request |
# | score | mean of the aspects | mean and overall grade both published | both |
# | overall grade of 1 | not said | became 10; corrected in December 2023 | stays 1 |

# %% [markdown]
# ```{admonition} Common mistakes
# :class: warning
# - **A key in a file.** It belongs in the environment. The package prints neither the key nor a server's words that repeat it.
# - **A judge that is one of the four.** Models prefer their own style. Take another, or at least check its share of best
#   answers.
# - **New wording halfway.** Change a prompt's wording or the temperature, and every call is new and paid again. Settle both on a
#   few prompts first.
# - **Same directory, another model.** A server names a model by its path. If you retrain it there, the journal still holds the
#   old answers: begin a new journal.
# - **A mean over whatever is there.** Count the missing ratings first.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# For feedback of your own, set `feedback` above. To *collect* it from any endpoint, with prompts in a file (`prompt` in each
# row), estimate first:
#
# ```bash
# export OPENAI_API_KEY=...    # never in a file; a server on your machine needs none
# zephyr feedback prompts.jsonl --output feedback.parquet --judge JUDGE \
#     --models MODEL_A,MODEL_B,MODEL_C,MODEL_D --base-url URL --prices prices.yaml --dry-run
# ```
#
# Then leave out `--dry-run`. Some reasoning models refuse a temperature: `--judge-temperature none` leaves it out, and
# `--judge-max-tokens` must leave room for their thoughts. If your own models answer and a provider judges, give `--base-url`
# for your server and `--judge-base-url` for the provider. What does your set look like?

# %%
n_answers = Counter(len(record["completions"]) for record in rated)
n_aspects = Counter(len(answer["annotations"]) for answer in answers)
for n, count in sorted(n_answers.items()):
    print(f"{count:,} prompts with {n} answers")
for n, count in sorted(n_aspects.items()):
    print(f"{count:,} answers rated in {n} aspects")
print(f"N/A or no number: {100 * np.isnan(table).mean():.1f} %")
print(
    f"records that repeat a prompt: {loaded.n_duplicate_ids:,}; "
    f"answers without overall grade: {100 * np.isnan(overall).mean():.1f} %"
)

# %% [markdown]
# ## Recap
#
# 1. *What a judge is asked, and how it is read*: [your reader](ex-03-read-reply) agrees with the package's on eight replies.
# 2. *A rating is a measurement*: [the mean](ex-03-mean-rating) has half the spread if errors are independent (equation {eq}`eq-03-noise`).
# 3. *The faulty tens*: [a corner of the figure](ex-03-suspect-tens), and [a reader](ex-03-read-grade) that never rescales.
# 4. *Collect, estimate, kill, resume*: six prompts predict the bill; a resumed run asks [only what is
#    missing](ex-03-missing-calls).
# 5. *Position bias*: [measured](ex-03-place-bonus) by asking twice (which misses length bias), and removed by a Latin square
#    (equation {eq}`eq-03-latin`) once [the shuffle is undone](ex-03-undo-order).
#
# Next: [Chapter 04](04_preference_pairs) turns the ratings into pairs.

# %% [markdown]
# ## References
#
# - Zephyr, section 3 {cite:p}`tunstall2023zephyr`: AI feedback through preferences.
# - UltraFeedback {cite:p}`cui2023ultrafeedback`: the set, its four aspects, the note on its overall grades; code in
#   OpenBMB/UltraFeedback, `src/data_annotation`.
# - Position bias and other habits of judges {cite:p}`zheng2023judging`; length bias and its control {cite:p}`dubois2024length`.

# %% tags=["remove-cell"]
stack.close()
metrics = {
    "faulty_tens": len(places),
    "faulty_tens_share": faulty_share,
    "mean_against_overall": float(mean_against_overall),
    "same_best_asked_twice": float(twice["stand-in-teacher"][0]),
    "place_found": float(twice["stand-in-place"][1]),
    "truly_best_fixed_order": float(fixed_order),
    "truly_best_rotated_order": float(rotated_order),
    "estimate_over_paid": float(expected / paid),
}
if seen.any():
    metrics |= {
        "mean_against_truth": float(follows["mean rating"]),
        "overall_against_truth": float(follows["overall grade"]),
    }
if len(errors):
    metrics |= {"error_of_one_aspect": float(one), "error_of_the_mean": float(four)}
artefacts.write_metrics(
    pipeline.folder / "03_ai_feedback",
    {name: value for name, value in metrics.items() if np.isfinite(value)},
)
