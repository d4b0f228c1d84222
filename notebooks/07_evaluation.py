# %% [markdown]
# # Evaluation: what a grade is worth
#
# Base, dSFT and dDPO answer the same questions, and a judge grades them by the paper's protocols, MT-Bench
# {cite:p}`zheng2023judging` and AlpacaEval. How certain are the grades, what biases them, what do they miss?

# %% [markdown]
# ## What you will be able to do
#
# 1. Generate answers, and compute MT-Bench and AlpacaEval scores with their standard errors.
# 2. Measure a judge's position bias, length bias and self-preference.
# 3. Tell whether dDPO made *your* model right more often or only changed its manner.
# 4. Decide whether a difference is real: paired by question, over seeds, with enough questions.
# 5. Recognise figures not to be taken at face value.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters and import what follows.

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
import math
import os
import re
import tempfile
import textwrap
import warnings
from pathlib import Path
from pprint import pprint

import numpy as np
import torch
from IPython.display import HTML, Markdown, display

from zephyr_utils import chat, evaluation, exercises, figures, lessons
from zephyr_utils.miniature.newcomers_study import newcomers_provenance, newcomers_table
from zephyr_utils.ablations.results import committed
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.evaluation.judge_prompts import grading_messages
from zephyr_utils.figures import before_after_table
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.miniature.newcomers import NEWCOMERS, are_sensible, ask_newcomers
from zephyr_utils.miniature.small_talk import SMALL_TALK
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.miniature.world import split_of, understand
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.published import published_record, published_table
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
# for the slow loop: questions, and tokens of an answer; a large model takes a second
# for each token
n_asked, most = (4, 96) if pipeline.scale == "miniature" else (1, 24)

# %% [markdown]
# ## Three models, one set of questions
#
# The questions have MT-Bench's shape: eight categories and two turns, the second building on the first. The miniature's
# judge is the rule-based teacher that rated the answers for dDPO, here without noise; at other scales a program checks
# each answer. **A judge's scale is its own**: no grade on this page compares with a GPT-4 score.

# %%
exam = pipeline.setting.exam
judge = exam.judge()
questions = pipeline.questions()
first_of = {question["category"]: question for question in reversed(questions)}
print(f"judge: {exam.judge_description}; temperature {exam.temperature:g}")
print(len(questions), "questions; one of every category:")
for category, question in sorted(first_of.items()):
    print(f"{category:>11}:", " | ".join(question["turns"]))

# %% [markdown]
# Was any of them in the training data? In the miniature a hash assigns each **combination** in a question (a name and a
# topic, the three numbers of a sum) to training, exam or development. (Single facts, such as the language of Kenya, are not
# held out.)

# %%
def user_turns(conversations):
    return {m["content"] for rows in conversations for m in rows if m["role"] == "user"}

# %%
if not pipeline.own_data and isinstance(judge, TeacherJudge):
    combinations = [key for q in questions for key in understand(q["turns"]).keys]
    print(f"{len(combinations)} combinations in {len(questions)} questions")
    assert {split_of(key) for key in combinations} == {"exam"}, (
        "an exam combination is not held out: were the questions made by another world?"
    )
trained_on = user_turns(row["messages"] for row in pipeline.split_dialogues()[0])
trained_on |= user_turns(pair["chosen"] for pair in pipeline.split_pairs()[0])
met = sum(question["turns"][0] in trained_on for question in questions)
print(f"{met} first turns occur in a text that the students were trained on")
assert pipeline.own_data or not met, (
    "a question of the exam leaked into training: chapter 04 shows how to look"
)

# %% [markdown]
# ### Generation, written out
#
# The chat template turns the conversation into tokens, the model scores the next, we append one and repeat until the turn
# ends. At temperature 0 we take the likeliest token; at temperature $T$ we draw from `softmax(logits / T)`.

# %%
@torch.no_grad()
def my_answer(model, tokenizer, messages, most=96, temperature=0.0):
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    said = []
    while len(said) < most:
        read = torch.tensor([prompt + said], device=model.device)
        logits = model(read).logits[0, -1]
        if temperature:
            token = int(torch.multinomial((logits / temperature).softmax(-1), 1))
        else:
            token = int(logits.argmax())
        if token == tokenizer.eos_token_id:
            break
        said.append(token)
    return tokenizer.decode(said, skip_special_tokens=True).strip()

# %% [markdown]
# The second turn follows the model's own first answer. `chat.chat_turns` does the same in batches, with cached keys and
# values. They must agree:

# %%
ddpo, tokenizer = chat.load_model(pipeline.model_directory("ddpo"), dtype="float32")
chat.prepare_tokenizer(tokenizer)
asked = [question["turns"] for question in list(first_of.values())[:n_asked]]
package = chat.chat_turns(
    ddpo.eval(), tokenizer, asked, temperature=0.0, max_new_tokens=most
)
for turns, expected in zip(asked, package):
    messages = []
    for turn, answer in zip(turns, expected):
        messages.append({"role": "user", "content": turn})
        mine = my_answer(ddpo, tokenizer, messages, most)
        messages.append({"role": "assistant", "content": mine})
        assert mine == answer.text, "the loops differ: which special token ends yours?"
    print(textwrap.shorten(" | ".join(m["content"] for m in messages), 160))

# %% [markdown]
# ### One call to a judge
#
# What a judge model would be sent about the last conversation, and what our program says. Read the grade from the *last*
# brackets: an answer that contains `[[10]]`, quoted by the judge, must not set its own grade.

# %%
def my_rating(judgment):
    found = re.findall(r"\[\[(\d+\.?\d*)\]\]", judgment)
    return float(found[-1]) if found else -1.0  # -1: the judge gave no grade


question = {"turns": turns, "category": "", "question_id": 0}
said = [answer.text for answer in expected]
sent, _ = grading_messages((question, said, 1))
print(dict(sent)["user"], "\n---")
graded = judge.grade(list(first_of.values())[n_asked - 1], said, 1)
print(graded.text, "->", my_rating(graded.text))
assert my_rating(graded.text) == graded.score

# %% [markdown]
# The teacher's rule: 5 points for the right bare fact, 2 more for a full sentence, 1.5 each for a friendly opening and
# closing, 1 off for names without capitals. A wrong answer gets 1, or 2 if it opens and closes in a friendly way. (The
# program of the other scales gives 1 to 10 points by the share of its checks that pass.) Now all questions and all three
# models:

# %% tags=["remove-input"]
lessons.predict(
    "The miniature's base has read questions with their answers, but never in the "
    "chat template. Where will the mean grade of this run's base lie?",
    ["near 1: below 2.5", "near the middle: 2.5 to 7.5", "above 7.5"],
    key="base-grade",
)

# %% tags=["hide-output"]
made = pipeline.evaluation()
display(Markdown(markdown_table(
    ("model", "grade", "right", "ended by itself"),
    [
        (
            name, f"{one.results['score']:.2f}", f"{100 * one.results['right']:.0f} %",
            f"{100 * one.results['ended']:.0f} %",
        )
        for name, one in made.items()
    ],
    numbers=range(1, 4),
)))

base, dsft, after = (made[name].results for name in ("base", "dsft", "ddpo"))

# %% tags=["remove-input"]
lessons.explain(
    f"At {base['score']:.2f}: "
    + (
        "only some of its texts happen to begin with an answer, and nothing wrong gets "
        "more than two points. "
        if isinstance(judge, TeacherJudge)
        else "an answer that is not right is still credited with the share of its "
        "checks that it passes. "
    )
    + f"dSFT reaches {dsft['score']:.2f}, dDPO {after['score']:.2f}. The share of "
    f"*right* answers is another number: {100 * dsft['right']:.0f} % after dSFT, "
    f"{100 * after['right']:.0f} % after dDPO. Is the difference real, and what "
    "does it consist of?",
    key="base-grade",
    answer=0 if base["score"] < 2.5 else 1 if base["score"] <= 7.5 else 2,
)

# %% [markdown]
# Every figure below can be recomputed from the stored answers and judgments, in the format of MT-Bench's own tools
# (FastChat):

# %%
answers = {
    name: evaluation.load_rows(manifest.folder / "answers.jsonl")
    for name, manifest in made.items()
}
judgments = {
    name: evaluation.load_rows(manifest.folder / "judgments.jsonl")
    for name, manifest in made.items()
}
pprint(answers["ddpo"][0], sort_dicts=False, width=88)
pprint(judgments["ddpo"][0], sort_dicts=False, width=88)

# %% [markdown]
# ```{admonition} The real thing: an answer of Zephyr
# :class: note dropdown
# The sample on the model card of Zephyr-7B-beta. Its grade would depend on judge, prompt and year.
# ```

# %% tags=["hide-input", "hide-output"]
real_answer = published_record("zephyr_answer")
for message in real_answer.record["messages"]:
    print(f"{message['role']}: {textwrap.fill(message['content'], 84)}")
print(textwrap.fill(real_answer.attribution, 84))

# %% [markdown]
# ## Protocol one: a grade for each answer
#
# MT-Bench {cite:p}`zheng2023judging` asks a judge for one grade $g_{qt} \in [1, 10]$ of each turn $t$ of each question
# $q$. A model's score is the plain mean,
#
# $$\text{score} = \frac{1}{|V|} \sum_{(q,t) \in V} g_{qt},$$ (eq-07-score)
#
# over the set $V$ of judgments with a readable grade. (The package accepts brackets only at the end of a finished judgment;
# FastChat takes the first.)

# %%
def my_score(rows):
    grades = [my_rating(row["judgment"]) for row in rows]
    grades = [grade for grade in grades if grade != -1]
    return sum(grades) / len(grades)

# %%
scores = {
    name: evaluation.mt_bench_score(rows, questions) for name, rows in judgments.items()
}
for name, rows in judgments.items():
    print(scores[name], scores[name].interval)
    assert math.isclose(my_score(rows), scores[name].overall), (
        "the two averages differ: does a record's score contradict its text?"
    )

# %% [markdown]
# ### Judgments that failed
#
# A judge sometimes omits its brackets. The tools then store −1, and whoever averages that with the rest loses (mean + 1) / 20
# for one failure in twenty. Nothing crashes. The package leaves failures out, counts them, and warns:

# %%
broken = [dict(row) for row in judgments["ddpo"]]
for row in broken[::20]:
    row.update(judgment="I would say it is quite good.", score=-1)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    left_out = evaluation.mt_bench_score(broken, questions)
as_stored = np.mean([row["score"] for row in broken])
print(f"left out: {left_out.overall:.3f}   averaged as -1: {as_stored:.3f}")
print(told[0].message)

# %% [markdown]
# That is sound only while failures are few: they may all be of one kind, such as long answers. Above 10 % it refuses:

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
# One mean hides eight. The paper's figure 1 is such a radar, without printed numbers; its text calls Zephyr competitive in
# several categories and much weaker in mathematics and coding. Where do dSFT and dDPO part here?

# %% tags=["hide-input"]
categories = list(scores["base"].by_category)
radar = {
    name: [score.by_category[category] for category in categories]
    for name, score in scores.items()
}
gains = np.subtract(radar["ddpo"], radar["dsft"])
alt = "; ".join(
    f"{name}: " + ", ".join(f"{c} {g:.1f}" for c, g in zip(categories, grades))
    for name, grades in radar.items()
)
figures.show(
    figures.category_radar(categories, radar),
    alt=f"Mean grades by category. {alt}.",
    caption=(
        "Mean grade by category, both turns, on this judge's own scale. dDPO gains "
        f"most in {categories[int(np.argmax(gains))]}, least in "
        f"{categories[int(np.argmin(gains))]}."
    ),
)

# %% [markdown]
# The other outcome, the share of right answers, by the same categories:

# %% tags=["hide-input"]
category_of = {question["question_id"]: question["category"] for question in questions}


def right_in(rows, category):
    there = [row for row in rows if category_of[row["question_id"]] == category]
    return 100 * float(np.mean([row["score"] >= judge.right_from for row in there]))


right_radar = {
    name: [right_in(rows, category) for category in categories]
    for name, rows in judgments.items()
}
right_gains = np.subtract(right_radar["ddpo"], right_radar["dsft"])
alt = "; ".join(
    f"{name}: " + ", ".join(f"{c} {s:.0f} %" for c, s in zip(categories, shares))
    for name, shares in right_radar.items()
)
figures.show(
    figures.category_radar(categories, right_radar, top=100),
    alt=f"Right answers by category. {alt}.",
    caption=(
        "Right answers in %, by category, both turns. From dSFT to dDPO, the change is "
        f"highest in {categories[int(np.argmax(right_gains))]} "
        f"({right_gains.max():+.0f} percentage points) and lowest in "
        f"{categories[int(np.argmin(right_gains))]} ({right_gains.min():+.0f})."
    ),
)

# %% [markdown]
# Each corner is a mean over few questions. Both models answered the same ones, so each change, here of the grade, has its own
# interval:

# %%
def by_question(rows):
    grades = {}
    for row in rows:
        grades.setdefault(row["question_id"], []).append(row["score"])
    # (questions, turns)
    return np.array([grades[question["question_id"]] for question in questions])

# %%
means = {name: by_question(rows).mean(axis=1) for name, rows in judgments.items()}
kind = np.array([question["category"] for question in questions])
for category in categories:
    here = kind == category
    change = evaluation.paired_difference(means["ddpo"][here], means["dsft"][here])
    print(f"{category:>11}: {change}")

# %% [markdown]
# ## The error of a mean
#
# Other questions of the same kind would give another score. If question $q$ contributes the mean of its turns, $x_q$, and the
# questions are drawn independently, then
#
# $$
# \begin{aligned}
# \operatorname{Var}(\bar{x}) &= \frac{1}{n^2}\sum_q \operatorname{Var}(x_q) = \frac{\sigma^2}{n}
# \quad\Rightarrow\quad \text{SE} = \frac{s}{\sqrt{n}}, \\
# s^2 &= \frac{1}{n-1}\sum_q (x_q - \bar{x})^2 .
# \end{aligned}
# $$ (eq-07-error)
#
# The **bootstrap** needs no formula: it resamples the questions two thousand times, with replacement, and takes the spread of
# the means. The two must agree.

# %%
def my_standard_error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))

# %%
for name, values in means.items():
    interval = evaluation.bootstrap_interval(values)
    print(
        f"{name:>5}: formula ± {1.96 * my_standard_error(values):.3f}, "
        f"bootstrap [{interval.low:.3f}, {interval.high:.3f}]"
    )
    half = (interval.high - interval.low) / 2
    assert abs(half - 1.96 * my_standard_error(values)) < 0.15 * half + 0.01, (
        "the two errors differ: is every question counted once?"
    )

# %% tags=["remove-input"]
lessons.predict(
    "Each question has two turns. May the formula count every turn as a draw of its "
    "own, so that $n$ doubles?",
    [
        "yes: more grades, a smaller error",
        "never: a second turn tells nothing new",
        "only if the two turns of a question are uncorrelated",
    ],
    2,
    key="unit",
)

# %% tags=["hide-output"]
correlation = {}
for name, rows in judgments.items():
    grades = by_question(rows)
    (var_1, cov), (_, var_2) = np.cov(grades.T)
    correlation[name] = cov / math.sqrt(var_1 * var_2) if var_1 * var_2 > 0 else 0.0
    print(
        f"{name:>5}: turns correlate at {correlation[name]:+.2f}; error by turns "
        f"{my_standard_error(grades.ravel()):.3f}, "
        f"by questions {my_standard_error(grades.mean(axis=1)):.3f}"
    )

measured = lessons.published("0.44 to 0.69", "public judgments of five models by GPT-4")

# %% tags=["remove-input"]
lessons.explain(
    "If the turns correlate at $\\rho$, the variance of the mean is $1 + "
    "\\rho$ times what counting turns gives. Here $\\rho$ is "
    + ", ".join(f"{value:+.2f} ({name})" for name, value in correlation.items())
    + f". On MT-Bench it is {measured}: a model that misreads the first turn fails the "
    "second too, and counting turns gives an error a fifth too small. The unit is the "
    "question.",
    key="unit",
)

# %% [markdown]
# ## Protocol two: which of two answers is better
#
# AlpacaEval shows the judge a baseline's answer and the model's, and asks which is better. The paper's baseline is
# text-davinci-003; ours is dSFT.

# %% [markdown]
# ```{exercise} A win rate with draws
# :label: ex-07-win-rate
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `win_rate(outcomes)`: given a list of `"win"`, `"draw"` and `"loss"`, return the win rate, a number between 0 and 1.
# Swapping the two models must turn a rate of $p$ into $1 - p$.
# ```

# %% tags=["exercise"]
def win_rate(outcomes):
    ...


exercises.check_win_rate(win_rate)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Two copies of one model draw every game, and swapping them changes nothing. So $p = 1 - p$.
# ```
#
# ```{admonition} Hint 2
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
# Without draws, a model that draws 99 games and wins one would get 100 %.
# ````

# %% [markdown]
# A judge may favour the *position* of an answer ([position bias](03_ai_feedback)), so we ask twice, with the order swapped.
#
# ```{exercise} Asked twice
# :label: ex-07-both-orders
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `both_orders(first, second)` for two verdicts, each `"A"`, `"B"` or `"tie"`. In the first game answer A is model 1's,
# in the second it is model 2's. Return model 2's score: 1 if both games name model 2, 0 if both name model 1, otherwise 0.5.
# ```

# %% tags=["exercise"]
def both_orders(first, second):
    ...


exercises.check_both_orders(both_orders)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Translate each letter into a model first. What does the pair `("A", "A")` say about the two models?
# ```
#
# ```{admonition} Hint 2
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
# `("A", "A")` names the first position twice: it says something about the judge, not the models.
# ````

# %% [markdown]
# Your two functions on dDPO against dSFT, first turns:

# %%
pair_points = exercises.yours(both_orders, exercises.check_both_orders)
rate_of = exercises.yours(win_rate, exercises.check_win_rate)
first_turn = {
    name: [row["choices"][0]["turns"][0] for row in rows]
    for name, rows in answers.items()
}
mine = [
    pair_points(judge.compare(q, a, b).winner, judge.compare(q, b, a).winner)
    for q, a, b in zip(questions, first_turn["dsft"], first_turn["ddpo"])
]
outcomes = [{1.0: "win", 0.5: "draw", 0.0: "loss"}[points] for points in mine]
print(f"{100 * rate_of(outcomes):.2f} % ± {100 * my_standard_error(mine):.2f}")

# %% [markdown]
# The package stores verdicts as AlpacaEval's annotations, so one function reads ours and the real ones:

# %%
pairs = evaluation.judge_pairs(
    questions, answers["dsft"], answers["ddpo"], judge, "dsft", "ddpo"
)
annotations = evaluation.as_annotations(pairs)
rate = evaluation.alpaca_eval_win_rate(annotations)
print(rate)
assert math.isclose(rate.win_rate, 100 * np.mean(mine)) and math.isclose(
    rate.standard_error, 100 * my_standard_error(mine)
), "the two rates differ"

# %% [markdown]
# ```{admonition} Common mistake
# :class: warning
# AlpacaEval's files store a draw as 0 in some runs and as 1.5 in others; a failed annotation is null, or in version 2 the
# draw 1.5. Reading 0 or null as a loss shifts the rate silently. The package knows both codings and counts what is missing.
# ```

# %% [markdown]
# ## From raw records to Table 1
#
# Table 1 of the paper prints a standard error beside each AlpacaEval rate over 805 instructions. A score that is 1 with
# probability $p$ and otherwise 0 has the variance $p(1-p)$, so
#
# $$\text{SE} \approx 100 \sqrt{\frac{p\,(1-p)}{805}} .$$ (eq-07-share)

# %%
table_1 = [
    row for row in published_table("table_1").rows if row["alpaca_eval"] is not None
]
off = {}
for row in table_1:
    p = row["alpaca_eval"] / 100
    ours = 100 * math.sqrt(p * (1 - p) / 805)
    off[row["model"]] = abs(ours - row["alpaca_eval_error"])
    print(
        f"{row['model']:>14}: {row['alpaca_eval']:.2f}, "
        f"printed error {row['alpaca_eval_error']:.2f}, from the rate alone {ours:.2f}"
    )
assert max(off.values()) < 0.05, (
    "a printed error is not that of its rate: was the table copied correctly?"
)

# %% [markdown]
# So the paper's error bars are over instructions alone, not over training seeds or judges. Zephyr's 90.60 and
# GPT-3.5-turbo's 89.37 differ by 1.23 points; were the rates independent, the difference would have the standard error
# $\sqrt{1.03^2 + 1.08^2} = 1.49$. Their order is not established, nor is that of two rows of table 3:

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
# The evidence for dDPO at one epoch is therefore its gain on MT-Bench, 7.00 against 6.64: see *How many questions?* below.
#
# To recompute every rate from the records, name in `ZEPHYR_REAL_DATA` a folder with copies of AlpacaEval's
# `results/MODEL/alpaca_eval_gpt4/` and of FastChat's GPT-4 judgments, which we may not ship.

# %% tags=["hide-input"]
def from_real_records(folder):
    layouts = ("alpaca_eval_gpt4/annotations.json", "ae1_alpaca_eval_gpt4_slim/*.jsonl")
    files = [file for layout in layouts for file in folder.rglob(layout)]
    real = evaluation.read_annotations(files)
    rates = {n: evaluation.alpaca_eval_win_rate(rows) for n, rows in real.items()}
    ours = rates.get("zephyr-7b-beta")
    assert ours is None or round(ours.win_rate, 2) == 90.60, "not version 1's records?"
    for name, found in rates.items():
        print(f"{name}: {found}")
        if ours and name in ("gpt-3.5-turbo-0301", "claude-2", "llama-2-70b-chat-hf"):
            zephyr = real["zephyr-7b-beta"]
            print(f"    minus it: {evaluation.win_rate_difference(zephyr, real[name])}")
    if len(rates) > 4:
        ranks = [
            np.argsort(np.argsort([getattr(r, field) for r in rates.values()]))
            for field in ("average_length", "win_rate")
        ]
        print(f"length and win rate, Spearman {np.corrcoef(ranks)[0, 1]:.2f}")
    single = [
        row
        for file in folder.rglob("model_judgment/*gpt-4_single*.jsonl")
        for row in evaluation.load_rows(file)
    ]
    for name, score in (evaluation.mt_bench_table(single) if single else {}).items():
        print(f"MT-Bench, {name}: {score.overall:.2f} {score.interval}")
    for file in folder.rglob("model_judgment/*pair*.jsonl"):
        score = evaluation.pair_score(evaluation.load_rows(file))
        print(
            f"{score.model_2} against {score.model_1}: {score.n_wins_2} won, "
            f"{score.n_wins_1} lost, {score.n_inconsistent} contradictory"
        )


if records := os.environ.get("ZEPHYR_REAL_DATA"):
    from_real_records(Path(records))

# %% [markdown]
# ### One model, many figures
#
# | Zephyr-7B-beta | paper | model card | the records, or a newer run |
# |---|---|---|---|
# | MT-Bench, GPT-4, 80 questions | 7.34 | 7.34 | no judgments to recompute it from |
# | AlpacaEval 1, against text-davinci-003 | 90.60 (1.03) | 90.60 | 90.598 (1.029): 727 won, 75 lost, 1 drawn, 2 failed |
# | AlpacaEval 2, against GPT-4 Turbo | – | – | 10.99, length-controlled 13.20 (AlpacaEval's leaderboard) |
#
# Between 90.60 and 10.99 only baseline and judge changed. A win rate describes two models *and* a judge.

# %% [markdown]
# ## Judges have biases, and they can be measured
#
# The paper names two: GPT-4 favours models distilled from it (**self-preference**), and long answers (**length bias**).
# [Chapter 03](03_ai_feedback) measured biases in ratings. What do they do to win rates? We plant two in a copy of our judge:

# %%
class BiasedJudge:
    """Grades by rule, with noise; biased towards the first position and length."""

    name = "biased"

    def __init__(self, noise=0.0, first=0.0, per_character=0.0, seed=0):
        self.noise, self.first, self.per_character = noise, first, per_character
        self.rng = np.random.default_rng(seed)

    def compare(self, question, a, b):
        gap = judge.grade(question, [a], 1).score - judge.grade(question, [b], 1).score
        gap += (
            self.first
            + self.per_character * (len(a) - len(b))
            + self.noise * self.rng.normal()
        )
        return evaluation.PairwiseJudgment(
            "", "A" if gap > 0.5 else "B" if gap < -0.5 else "tie"
        )

# %% [markdown]
# ### Position bias

# %% tags=["remove-input"]
lessons.predict(
    "A judge with noise of 2 points adds 2 points to whatever it reads first. Where "
    "does dDPO's win rate over both orders lie?",
    ["between the two single orders", "at the unbiased judge's rate", "at one half"],
    0,
    key="position",
)

# %% tags=["hide-output"]
biased = BiasedJudge(noise=2.0, first=2.0, seed=seed)
games = evaluation.judge_pairs(
    questions, answers["dsft"], answers["ddpo"], biased, "dsft", "ddpo"
)
points = {"model_2": 1.0, "tie": 0.5, "model_1": 0.0}
second_place, first_place = (
    100 * np.mean([points[row[game]] for row in games])
    for game in ("g1_winner", "g2_winner")
)
fair = evaluation.pair_score(games)
print(
    f"dDPO shown second: {second_place:.1f} %, first: {first_place:.1f} %, "
    f"both orders: {fair.win_rate_2:.1f} %; unbiased judge: {rate.win_rate:.1f} %"
)
print(
    f"contradictory: {fair.n_inconsistent} of {len(games)}; "
    f"{fair.n_first_place} named the first position twice, "
    f"{fair.n_second_place} the second"
)
assert first_place > second_place + 5, (
    "the bias does not show: is the order swapped in the second game?"
)

low, high = sorted((first_place, second_place))

# %% tags=["remove-input"]
lessons.explain(
    f"One order alone gives {low:.0f} or {high:.0f} %; both give "
    f"{fair.win_rate_2:.0f} %, because the bias pushes once each way. The "
    f"{fair.n_inconsistent} contradictory questions count one half each and pull the "
    f"unbiased judge's {rate.win_rate:.0f} % towards one half: asked twice, a biased "
    "judge usually keeps the sign, but tells two models apart *less well*.",
    key="position",
)

# %% [markdown]
# ### Length bias
#
# The win rate in four equal groups, by how much longer than the baseline's the answer is:

# %%
display(Markdown(markdown_table(
    ("characters longer", "win rate", "questions"),
    [
        (
            f"{group.length_difference:+.1f}",
            f"{group.win_rate:.1f} % ± {group.standard_error:.1f}", group.n,
        )
        for group in evaluation.win_rate_by_length(annotations, n_bins=4)
    ],
    numbers=range(3),
)))

# %% [markdown]
# To take length out, fit a curve to the scores, with $d$ the difference of the lengths and $s$ its standard deviation,
#
# $$P(\text{model preferred}) = \sigma\big(\theta + \phi \tanh(d / s)\big),$$ (eq-07-length)
#
# and read it off at $d = 0$: $100\,\sigma(\theta)$. The idea is AlpacaEval's length-controlled rate
# {cite:p}`dubois2024length`, which also estimates a difficulty per instruction. By Newton's method, with a weak prior that
# draws $\phi$ to zero:

# %%
def my_length_control(scores, lengths):
    design = np.stack([np.ones(len(lengths)), np.tanh(lengths / lengths.std())], axis=1)
    theta_phi, prior = np.zeros(2), np.diag([0.0, 1.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ theta_phi))
        slope = design.T @ (scores - chance) - prior @ theta_phi
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + prior
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
    ), "the two curves differ: characters, or tokens?"

# %% tags=["remove-input"]
lessons.predict(
    "Now a judge that adds a fifth of a point per character. Its length-controlled "
    "rate comes back near ...",
    [
        "the unbiased judge's raw rate",
        "the unbiased judge's controlled rate",
        "neither",
    ],
    key="length",
)

# %% tags=["hide-output"]
loves_length = BiasedJudge(per_character=0.2, seed=seed)
long_won = evaluation.as_annotations(
    evaluation.judge_pairs(
        questions, answers["dsft"], answers["ddpo"], loves_length, "dsft", "ddpo"
    )
)
long_rate = evaluation.alpaca_eval_win_rate(long_won)
long_controlled = evaluation.length_controlled_win_rate(long_won)
display(Markdown(markdown_table(
    ("judge", "raw", "length-controlled", "phi"),
    [
        (name, f"{raw:.1f} %", f"{at_equal.win_rate:.1f} %", f"{at_equal.phi:+.2f}")
        for name, raw, at_equal in (
            ("unbiased", rate.win_rate, controlled),
            ("length bias", long_rate.win_rate, long_controlled),
        )
    ],
    numbers=range(1, 4),
)))

to_raw = abs(long_controlled.win_rate - rate.win_rate)
to_controlled = abs(long_controlled.win_rate - controlled.win_rate)

# %% tags=["remove-input"]
lessons.explain(
    f"Length control takes the biased judge from {long_rate.win_rate:.0f} to "
    f"{long_controlled.win_rate:.0f} %, and the unbiased one too, from "
    f"{rate.win_rate:.0f} to {controlled.win_rate:.0f} %: a curve in the length cannot "
    "tell 'liked because it is long' from 'long because it holds what is liked'"
    + (
        ", here friendly openings and full sentences"
        if isinstance(judge, TeacherJudge)
        else ""
    )
    + ". What is left at equal length can lie further from the true rate than the raw "
    "one.",
    key="length",
    answer=2 if min(to_raw, to_controlled) > 10 else 0 if to_raw < to_controlled else 1,
)

# %% [markdown]
# ### Self-preference, and what is inside a grade
#
# The miniature's judge is the rule behind dDPO's pairs, as GPT-4 was behind Zephyr's. But a rule can be taken apart: each
# of its grades is **content** (5 for right, 1 for wrong) plus **form** (the rest).

# %%
def graded_answers(name):
    given = [row["choices"][0]["turns"] for row in answers[name]]
    return [
        [grade_turn(q["turns"], turns, turn) for turn in (1, 2)]
        for q, turns in zip(questions, given)
    ]


def content_and_form(name):
    right = np.array([[g.right for g in row] for row in graded[name]])
    content = (1 + 4.0 * right).mean(axis=1)
    return content, means[name] - content, right.mean(axis=1)


graded = {}
if isinstance(judge, TeacherJudge):
    graded = {name: graded_answers(name) for name in answers}

# %% tags=["remove-input"]
lessons.predict(
    "dDPO's mean grade differs from dSFT's. What is most of that difference?",
    ["content: right answers", "form: manner and sentences", "about half and half"],
    key="content",
)

# %% tags=["hide-output"]
total = evaluation.paired_difference(means["ddpo"], means["dsft"])
print(f"dDPO − dSFT, grade: {total}")
gain_content = gain_form = float("nan")
if graded:
    parts = {name: content_and_form(name) for name in answers}
    for label, part in (("content", 0), ("form", 1), ("right", 2)):
        line = evaluation.paired_difference(parts["ddpo"][part], parts["dsft"][part])
        print(f"dDPO − dSFT, {label:>7}: {line}")
    gain_content, gain_form = (
        float((parts["ddpo"][part] - parts["dsft"][part]).mean()) for part in (0, 1)
    )
    assert math.isclose(gain_content + gain_form, total.mean, abs_tol=1e-9)
else:
    print("This judge's grades have one part alone.")

share = gain_content / total.mean if graded and total.mean else 1.0
reading = (
    "The mean grade alone would call the model more helpful than it is: pairs of other "
    "models' answers teach what a good answer *looks* like at least as readily as how "
    "to find the right one."
    if share < 1 / 3
    else "So the grade tells the truth here: dDPO brought out right answers."
    if share > 2 / 3
    else "Both moved, so neither the grade nor the share of right answers is enough."
)

# %% tags=["remove-input"]
lessons.explain(
    f"Of {total.mean:+.2f}, content makes {gain_content:+.2f} and form "
    f"{gain_form:+.2f}. {reading}"
    if graded
    else "The judge of this run counts passed checks, of facts and of instructions on "
    "form alike, so its grade cannot be split: the difference of "
    f"{total.mean:+.2f} stays whole.",
    key="content",
    answer=(0 if share > 2 / 3 else 1 if share < 1 / 3 else 2) if graded else None,
)

# %% [markdown]
# ### Right by manner: Simpson's paradox
#
# Suppose plain answers are right in 70 % and friendly ones in 60 %. If all turn from plain to friendly, the share of right
# ones falls by 10 points although nothing changed *within* either manner. Such a shift can even reverse the sign of a change
# (**Simpson's paradox**). So split it:
#
# $$\Delta = \underbrace{\sum_m \bar{w}_m\, \Delta p_m}_{\text{within manners}}
# + \underbrace{\sum_m \Delta w_m\, \bar{p}_m}_{\text{composition}},$$ (eq-07-simpson)
#
# where $w_m$ is the share of answers in manner $m$, $p_m$ the share of those that are right, $\Delta$ after minus before,
# and a bar the mean of the two. In the example: within 0, composition $-1 \cdot 0.7 + 1 \cdot 0.6 = -0.1$.

# %% [markdown]
# ````{exercise} A change, taken apart
# :label: ex-07-change-parts
#
# **Difficulty** ●●●●○ · **Minutes** 15
#
# Write `change_parts`. Its arguments are arrays with one entry per manner: $w$ before and after, $p$ before and after.
# Return the two sums of {eq}`eq-07-simpson`, within and composition. They must add up to the change of the overall share.
# ````

# %% tags=["exercise"]
def change_parts(share_before, share_after, right_before, right_after):
    ...  # return within, composition


exercises.check_change_parts(change_parts)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The overall share before is `(share_before * right_before).sum()`. Write after minus before; add and subtract a mixed term.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Within: the mean of the two shares, times the change of the rate, summed. Composition: the other way round.
# ```

# %% [markdown]
# ````{solution} ex-07-change-parts
# :class: dropdown
# ```python
# def change_parts(share_before, share_after, right_before, right_after):
#     within = (share_before + share_after) / 2 * (right_after - right_before)
#     composition = (share_after - share_before) * (right_before + right_after) / 2
#     return within.sum(), composition.sum()
# ```
# ````

# %% [markdown]
# On this run, the answers of both turns: friendly (with an opening or a closing) or plain, before and after dDPO.

# %% tags=["remove-input"]
lessons.predict(
    "Does the change *within* manners have the same sign as the change of the overall "
    "share of right answers?",
    [
        "yes",
        "no: composition turns the sign",
        "the overall share changes by less than half a point",
    ],
    key="simpson",
)

# %% tags=["hide-output"]
take_apart = exercises.yours(change_parts, exercises.check_change_parts)


def by_manner(name):
    flat = [grade for row in graded[name] for grade in row]
    friendly = np.array([grade.friendly > 0 for grade in flat])
    right = np.array([grade.right for grade in flat], float)
    groups = [right[friendly], right[~friendly]]
    return (
        np.array([len(group) / len(right) for group in groups]),
        np.array([group.mean() if len(group) else 0.0 for group in groups]),
    )


if graded:
    (w_0, p_0), (w_1, p_1) = by_manner("dsft"), by_manner("ddpo")
    display(Markdown(markdown_table(
        ("answers", "dSFT, share", "right", "dDPO, share", "right"),
        [
            (manner, *(f"{100 * each:.0f} %" for each in parts))
            for manner, *parts in zip(("friendly", "plain"), w_0, p_0, w_1, p_1)
        ],
        numbers=range(1, 5),
    )))
    within, composition = take_apart(w_0, w_1, p_0, p_1)
    change = float(w_1 @ p_1 - w_0 @ p_0)
    print(
        f"all: {100 * change:+.1f} % = within {100 * within:+.1f} % "
        f"+ composition {100 * composition:+.1f} %"
    )
    assert math.isclose(within + composition, change, abs_tol=1e-9)

if graded:
    steps = p_1 - p_0
    turned = change * within < 0 and abs(change) > 0.005
    paradox = turned and bool(np.all(steps * within > 0))
    verdict = (
        "Simpson's paradox in full: one sign within each manner, the other overall."
        if paradox
        else "The shift between manners turns the sign of the total."
        if turned
        else "The total and the change within manners have one sign: no paradox here."
    )

# %% tags=["remove-input"]
lessons.explain(
    f"Friendly answers went from {100 * w_0[0]:.0f} % to {100 * w_1[0]:.0f} % of all. "
    f"The share of right ones changes by {100 * change:+.1f} points: "
    f"{100 * within:+.1f} within the manners, {100 * composition:+.1f} by composition. "
    f"{verdict} (Manner is not assigned at random, so this describes the change "
    "without explaining it.)"
    if graded
    else "The judge of this scale does not grade manner.",
    key="simpson",
    answer=(2 if abs(change) < 0.005 else 1 if turned else 0) if graded else None,
)

# %% [markdown]
# ## Is the difference real?
#
# Both models answered the *same* questions. Where hard questions are hard for both, the difference has a smaller error:
#
# $$\operatorname{Var}(\bar{x} - \bar{y}) = \frac{\sigma_x^2 + \sigma_y^2 - 2\rho\,\sigma_x\sigma_y}{n} .$$ (eq-07-paired)

# %% [markdown]
# ```{exercise} The error of a difference
# :label: ex-07-paired-error
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `paired_error(a, b)` for two models' grades on the same questions, as NumPy arrays. Return the standard error of the
# difference of their means.
# ```

# %% tags=["exercise"]
def paired_error(a, b):
    ...


exercises.check_paired_error(paired_error)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The difference of the means is the mean of the differences. You know the error of a mean.
# ```
#
# ```{admonition} Hint 2
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

# %% tags=["remove-input"]
lessons.predict(
    "How much smaller than the unpaired standard error of dDPO minus dSFT is the "
    "paired one?",
    ["by less than a tenth, if at all", "by a tenth to a half", "by more than half"],
    key="pairing",
)

# %% tags=["hide-output"]
error_of = exercises.yours(paired_error, exercises.check_paired_error)
x, y = means["ddpo"], means["dsft"]
paired = error_of(x, y)
unpaired = math.hypot(my_standard_error(x), my_standard_error(y))
gained = paired / unpaired if unpaired else 1.0
(var_x, cov), (_, var_y) = np.cov(x, y)  # cov is rho times both standard deviations
rho = cov / math.sqrt(var_x * var_y) if var_x * var_y > 0 else 0.0
print(
    f"difference {np.mean(x - y):+.3f}; error unpaired {unpaired:.3f}, "
    f"paired {paired:.3f}; rho = {rho:+.2f}"
)
assert math.isclose(
    paired, math.sqrt((var_x + var_y - 2 * cov) / len(x)), abs_tol=1e-9
), "the formula and the paired error differ: is the same ddof used throughout?"

# %% tags=["remove-input"]
lessons.explain(
    f"The paired error is {gained:.2f} times the unpaired one. Pairing "
    "helps as far as both models find the same questions hard: here $\\rho$ is "
    f"{rho:+.2f}. At a $\\rho$ near zero it gains nothing and costs nothing.",
    key="pairing",
    answer=0 if gained > 0.9 else 1 if gained > 0.5 else 2,
)

# %% [markdown]
# How often would chance alone make such a difference? If the models were alike, each question's difference could as well
# have the other sign. So flip the signs at random, ten thousand times, and count: a **permutation test**. (The package counts
# the observed signs too, so its p is never zero.)

# %%
def my_p_value(differences, flips=10_000):
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(flips, len(differences)))
    return np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)

# %%
print(f"by hand p = {my_p_value(x - y):.4f}; the package: {total}")
assert abs(my_p_value(x - y) - total.p_value) < 0.02, (
    "the two tests differ: flip signs of differences, not of grades"
)
print(f"dSFT − base: {evaluation.paired_difference(means['dsft'], means['base'])}")

# %% [markdown]
# ### What a seed is worth
#
# The intervals so far cover *other questions*. Chance also enters through sampling and training. The first is cheap to try,
# where answers are sampled at all: ask the dDPO model again with other seeds.

# %%
again = [scores["ddpo"].overall]
for other_seed in (seed + 11, seed + 12) if exam.temperature else ():
    with tempfile.TemporaryDirectory() as folder:
        again.append(
            run_exam(
                ddpo, tokenizer, "ddpo", questions, Path(folder), judge,
                seed=other_seed,
                max_new_tokens=exam.max_new_tokens,
                temperature=exam.temperature,
            )["score"]
        )
spread = f"{np.std(again, ddof=1):.3f}" if exam.temperature else "0: it is greedy"
drawn = ", ".join(f"{score:.2f}" for score in again)
print(
    f"dDPO: {drawn}, spread of sampling {spread}, "
    f"error over questions {my_standard_error(means['ddpo']):.3f}"
)

# %% [markdown]
# The error over questions includes this already: the noise of each draw $x_q$ is part of $s$. It leaves out the seed of the
# *training*. `make claims` repeats the miniature's pipeline with $n$ seeds; the interval is then Student's, $\bar{x} \pm
# t_{n-1}\,s/\sqrt{n}$ (for five seeds $t_4 = 2.78$, not 1.96).

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
            found = evaluation.seeds_interval(gaps)
            side = "rises" if found.low > 0 else "falls" if found.high < 0 else "either"
            print(f"{better} − {worse}, {figure}: {found} ({side})")
            print("   each:", ", ".join(f"{gap:+.2f}" for gap in gaps))

# %% [markdown]
# *Either*: the interval includes zero, so few trainings cannot tell.
#
# ### How many questions?
#
# A true difference of exactly 1.96 standard errors is found half of the time, since the estimate falls below the truth as
# often as above it: 50 % **power**. For 80 % it must be $1.96 + 0.84$ standard errors.
#
# ```{exercise} How many questions?
# :label: ex-07-questions-needed
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `questions_needed(sd, gap)`, where `sd` is the standard deviation of the paired differences: return the smallest whole
# number of questions at which a true difference of `gap` is at least $1.96 + 0.84$ standard errors.
# ```

# %% tags=["exercise"]
def questions_needed(sd, gap):
    ...


exercises.check_questions_needed(questions_needed)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Start from $(1.96 + 0.84)\,\text{sd}/\sqrt{n} = \text{gap}$ and solve for $n$.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Square both sides; `math.ceil` rounds up.
# ```

# %% [markdown]
# ````{solution} ex-07-questions-needed
# :class: dropdown
# ```python
# def questions_needed(sd, gap):
#     return math.ceil(((1.96 + 0.84) * sd / gap) ** 2)
# ```
# With `sd = 2.2`, as in public judgments of MT-Bench, table 1's gap of 0.22 between Zephyr-7B-beta (7.34) and Vicuna-33B
# (7.12) takes 784 questions; MT-Bench has 80. (With 1.96 alone: 385, and half of such exams would miss the gap.)
# ````

# %%
needed = exercises.yours(questions_needed, exercises.check_questions_needed)
spread = float(np.std(x - y, ddof=1))
for gap in (1.0, 0.5, 0.25):
    print(f"a difference of {gap:g} takes {needed(spread, gap):,} of our questions")

# %% tags=["hide-input"]
sizes = np.array([20, 40, 80, 160, 320, 640, 1280])
seen = (1.96 + 0.84) * spread / np.sqrt(sizes)
fig, [axes] = figures.figure(height=3.2)
axes.plot(sizes, seen, marker="o", label="smallest difference seen with 80 % power")
axes.axhline(
    abs(total.mean), linestyle="--", color=figures.COLOURS[1], label="dDPO − dSFT here"
)
axes.set(
    xscale="log", xlabel="questions", ylabel="grades",
    xticks=sizes, xticklabels=sizes, ylim=(0, None),
)
figures.style.legend_below(fig, 1)
figures.show(
    fig,
    alt=(
        f"The smallest difference falls from {seen[0]:.2f} at 20 questions to "
        f"{seen[2]:.2f} at 80 and {seen[-1]:.2f} at 1,280; measured {total.mean:+.2f}."
    ),
    caption=(
        "The smallest difference in grades that an exam finds with 80 % power, and the "
        "one measured here. Half the gap takes four times the questions. Right answers "
        "are not in this figure: their differences have another spread."
    ),
)

# %% [markdown]
# Without a formula: draw 80 of our questions again and again. How often do the models keep their order?

# %%
rng = np.random.default_rng(seed)
of_80 = np.array([rng.choice(x - y, 80).mean() for _ in range(5000)])
print(
    "dDPO − dSFT over 80 questions: 95 % of the draws between "
    f"{np.quantile(of_80, 0.025):+.2f} and {np.quantile(of_80, 0.975):+.2f}; "
    f"same order as over all {len(x)} in "
    f"{100 * np.mean(np.sign(of_80) == np.sign(total.mean)):.1f} %"
)

# %% [markdown]
# In GPT-4's public judgments a question's mean grade has a standard deviation of three points. So MT-Bench gives a score to
# ± 0.65 to 0.7 (95 %), a paired difference to ± 0.4 to 0.55. It cannot resolve a gap of 0.22, nor table 3's gain from dSFT-1
# to dDPO + dSFT, 0.36.

# %% [markdown]
# ## Before and after, the same questions
#
# One question per category, with the grade of the first turn:

# %% tags=["hide-input"]
grade_of = {
    (name, row["question_id"], row["turn"]): row["score"]
    for name, rows in judgments.items()
    for row in rows
}
place_of = {question["question_id"]: n for n, question in enumerate(questions)}
shown = []
for _, question in sorted(first_of.items()):
    n = place_of[question["question_id"]]
    cells = {
        name: f"{first_turn[name][n]}\n[{grade_of[name, question['question_id'], 1]:g}]"
        for name in answers
    }
    shown.append({"question": question["turns"][0], **cells})
display(
    HTML(
        before_after_table(
            shown,
            caption=(
                f"First turns, at temperature {exam.temperature:g}; "
                "the grade in brackets."
            ),
        )
    )
)

# %% [markdown]
# Look for right but bare answers beside false ones that sound good. The questions on which dSFT and dDPO differ most:

# %%
turns_of = {
    name: {row["question_id"]: row["choices"][0]["turns"] for row in rows}
    for name, rows in answers.items()
}
for n in np.argsort(x - y)[[0, 1, -2, -1]]:
    key = questions[n]["question_id"]
    gaps = [grade_of["ddpo", key, t] - grade_of["dsft", key, t] for t in (1, 2)]
    turn = int(np.argmax(np.abs(gaps)))  # the one in which they differ more
    print(
        f"{(x - y)[n]:+.1f}  turn {turn + 1}: {questions[n]['turns'][turn]}\n"
        f"      dSFT: {turns_of['dsft'][key][turn]!r}\n"
        f"      dDPO: {turns_of['ddpo'][key][turn]!r}"
    )

# %% [markdown]
# ## What the exam does not ask
#
# The protocol's third outcome: eighty questions as newcomers put them, in words that no training text has. 48 lie inside the
# miniature's world ("thanks a bunch", "Gold is what?"), 32 outside, where an honest "I only know ..." is sensible. The aim is
# 80 % answered sensibly after dSFT and after dDPO. (The dialogues' small talk was reworded once after a pilot on these very
# questions, and the aim was written into the protocol when three replications had been read.)

# %% tags=["remove-input"]
lessons.predict(
    "How does the share of these questions that is answered sensibly change from dSFT "
    "to dDPO?",
    ["up by more than 5 points", "by 5 points at most", "down by more than 5 points"],
    key="newcomers",
)

# %% tags=["hide-output"]
def sensible_share(good):
    return evaluation.wilson_interval(int(good.sum()), len(good))


inside = np.array([asked.inside for asked in NEWCOMERS])
replies, sensible, aim = {}, {}, 0.8
for name in ("dsft", "ddpo") if graded else ():
    model, _ = chat.load_model(pipeline.model_directory(name), dtype="float32")
    replies[name] = ask_newcomers(model, tokenizer)
    sensible[name] = np.array(are_sensible(replies[name]))
if graded:
    display(Markdown(markdown_table(
        ["answered sensibly", "all 80", "48 inside", "32 outside"],
        [
            [name, *map(sensible_share, (good, good[inside], good[~inside]))]
            for name, good in sensible.items()
        ],
        numbers=range(1, 4),
    )))
    shift = evaluation.paired_difference(sensible["ddpo"], sensible["dsft"])
    print(f"dDPO − dSFT, all: {shift}")

# %% tags=["hide-output"]
def of_itself(name):
    said = np.array(replies[name])[inside & ~sensible[name]]
    own = re.compile("I only know|I know about|I am a small language model")
    return sum(own.search(text) is not None for text in said)


if graded:
    lost = np.flatnonzero(sensible["dsft"] & ~sensible["ddpo"])
    read = [understand([pair["prompt"]]) for pair in pipeline.split_pairs()[0]]
    small = [asked for asked in read if asked and asked.category == SMALL_TALK]
    print(f"{len(small)} of {len(read)} prompts of the pairs are small talk")

# %% tags=["remove-input"]
lessons.explain(
    ", ".join(
        f"{label} {'reaches' if sensible[name].mean() >= aim else 'misses'} the aim of "
        f"{aim:.0%} with {sensible[name].mean():.1%}"
        for label, name in (("dSFT", "dsft"), ("dDPO", "ddpo"))
    )
    + f". Inside the world {of_itself('ddpo')} of dDPO's answers introduce the model "
    "or say what it knows where something else was asked (dSFT: "
    f"{of_itself('dsft')}). *Conjecture*: the pairs reward manner above all, and small "
    f"talk, {len(small) / len(read):.0%} of their prompts, has set phrases there, "
    "where dSFT's dialogues word it as people type it."
    if graded
    else "These questions are about the miniature's world; this scale has none.",
    key="newcomers",
    answer=(0 if shift.mean > 0.05 else 2 if shift.mean < -0.05 else 1)
    if graded
    else None,
)

# %% [markdown]
# Some that dSFT answers sensibly and dDPO does not:

# %% tags=["hide-input"]
if graded and len(lost):
    some = [
        {"question": NEWCOMERS[n].text} | {name: replies[name][n] for name in replies}
        for n in lost[:: max(1, len(lost) // 4)][:4]
    ]
    display(HTML(before_after_table(some, caption="Newcomers' questions, greedily.")))

# %% [markdown]
# What training on preferences costs on other tasks is called an **alignment tax**: InstructGPT's PPO did worse on public
# language tasks such as SQuAD and DROP, and less so with pretraining text mixed in {cite:p}`ouyang2022instructgpt`.
# One training settles neither its size here nor its sign; over replications (`make newcomers`) it is:

# %% tags=["hide-input"]
known = committed("newcomers.json", newcomers_provenance)
display(Markdown(newcomers_table(known.measured) if known.measured else known.machine))

# %% [markdown]
# ## Figures that are not what they seem
#
# Before you compare two figures, ask four questions of the first, none of which is about the model:
#
# - **seen**: were some of its questions in training data?
# - **failed**: are more than 10 % of the questions without a readable judgment?
# - **chance**: is the figure *not* above guessing, that is, does its 95 % interval begin at chance or below it?
# - **scale**: does it differ from the other figure in its judge or in its baseline?

# %% [markdown]
# ````{exercise} Reasons for doubt
# :label: ex-07-doubts
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `doubts(figure, beside)`: return the list of those words of the four, in any order, that are reasons to doubt `figure`
# beside another one. Each figure is a dictionary: `rate`, in percent or a grade, with its standard `error`; `chance`, the rate
# of guessing; `asked`, how many questions were asked, and `failed`, how many of them have no readable judgment; `seen`, whether
# some are known to have been in training data; `judge` and `baseline`, names or None. Where nothing can be guessed, as in a
# grade, `chance` is None, and `error` may be None, too.
# ````

# %% tags=["exercise"]
def doubts(figure, beside):
    ...  # a list with some of "seen", "failed", "chance", "scale"


exercises.check_doubts(doubts)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Begin with an empty list, and four times: `if ...: reasons.append(...)`. The lower end of the interval lies 1.96 standard
# errors below the rate.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Ask `figure["chance"] is not None` first, since a chance of 0 is a chance, too. And what about a rate far below chance?
# ```

# %% [markdown]
# ````{solution} ex-07-doubts
# :class: dropdown
# ```python
# def doubts(figure, beside):
#     reasons = []
#     if figure["seen"]:
#         reasons.append("seen")
#     if figure["failed"] > 0.1 * figure["asked"]:
#         reasons.append("failed")
#     if figure["chance"] is not None:
#         if figure["rate"] - 1.96 * figure["error"] <= figure["chance"]:
#             reasons.append("chance")
#     if any(figure[name] != beside[name] for name in ("judge", "baseline")):
#         reasons.append("scale")
#     return reasons
# ```
# A rate far below chance is no better than one at chance: the runner read the answers wrongly.
# ````

# %%
doubts_of = exercises.yours(doubts, exercises.check_doubts)


def figure(rate, asked, error=None, chance=None, **known):
    usual = {"failed": 0, "seen": False, "judge": None, "baseline": None}
    given = {"rate": rate, "asked": asked, "error": error, "chance": chance}
    return {**usual, **given, **known}


def ask(what, one, other):
    print(f"{what}: {', '.join(doubts_of(one, other)) or 'no doubt'}")

# %% [markdown]
# This run's own grades first, and those above whose judgments failed:

# %%
own_grades = {
    name: figure(
        score.overall, len(judgments[name]), failed=score.n_failed,
        seen=bool(met), judge=judge.name,
    )
    for name, score in scores.items()
}
no_grade = sum(row["score"] == -1 for row in broken)
spoiled = own_grades["ddpo"] | {"failed": no_grade}
ask("dDPO beside dSFT, this run", own_grades["ddpo"], own_grades["dsft"])
ask("dDPO with broken judgments", spoiled, own_grades["dsft"])

# %% [markdown]
# **Contaminated.** UltraFeedback, the source of Zephyr's pairs, included prompts of TruthfulQA, removed later
# ([Chapter 04](04_preference_pairs) hunts such leaks). So one of the four columns of the paper's table 2 was partly seen in
# training:

# %%
table_2 = published_table("table_2")
for row in table_2.rows:
    if row["model"] in ("Mistral-Instruct v0.1", "Zephyr-7B-β", "Llama2-Chat"):
        print(
            f"{row['model']:>22}",
            *(f"{name} {row[name]}" for name in ("arc", "hellaswag", "mmlu")),
            f"truthfulqa {row['truthfulqa']}",
        )
print(textwrap.fill(table_2.note, 88))
zephyr = next(row for row in table_2.rows if row["model"] == "Zephyr-7B-β")
on_truth = figure(zephyr["truthfulqa"], 817, seen=True)
ask("Zephyr-7B-β on TruthfulQA", on_truth, on_truth)

# %% [markdown]
# **From a faulty runner.** On MedConceptsQA, four choices about medical codes, Zephyr-7B-beta was published at 25 %. Does it
# know no medicine? Compare the others, in April and in July 2024:

# %%
medical = published_table("med_concepts_qa")
for row in medical.rows:
    print(
        f"{row['model']}, {row['setting']}, {row['published']}: {row['accuracy']:.1f} %"
    )
error = 3.075 / 1.96  # the leaderboard gives an interval of 3.075 points to either side
implied = round(25.538 * (100 - 25.538) / error**2)  # questions, by their error
april = figure(25.538, implied, error=error, chance=25.0)
ask("Zephyr-7B-beta, zero-shot, April", april, april)
print(f"Source: {medical.source}")

# %% [markdown]
# In April the runner had put a random classification head on every open model. In July their figures were replaced and rose;
# Zephyr's row was dropped, so **its score is unknown** ([errata](../errata), 16). Such tasks run with EleutherAI's lm-eval
# (`pip install "zephyr-handbook[academic]"`, then `zephyr evaluate MODEL --academic med_concepts_qa:4`):

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
# **From another judge.** The published 7.34 is a mean of grades by GPT-4 of 2023, which can hardly be asked again
# ([errata](../errata), 17). Another judge or prompt moves the scale, and so does another baseline:

# %%
published_grade = figure(7.34, 80, judge="gpt-4-0613")
ask("MT-Bench 7.34 beside this run's dDPO", published_grade, own_grades["ddpo"])
version_1 = figure(90.60, 805, failed=2, judge="gpt-4", baseline="text-davinci-003")
turbo = "gpt-4-1106-preview"
version_2 = figure(10.99, 805, judge=turbo, baseline=turbo)
ask("AlpacaEval 90.60 beside 10.99", version_1, version_2)

# %% [markdown]
# ## Your turn with your own data
#
# ```{admonition} Common mistakes
# :class: warning
# - Two judges, or two versions of one, do not share a scale.
# - A judge that fails on long answers removes them from the mean. Look at `n_failed` first.
# - One file under two names makes two models "tie".
# ```
#
# Each of these writes a report ([all options](../command-line)):
#
# - `zephyr evaluate base dsft ddpo --baseline dsft`: what this chapter did, in both orders;
# - `zephyr evaluate MODEL_DIRECTORY --questions question.jsonl --judge NAME --judge-url URL`: MT-Bench's own 80 questions,
#   graded by any model behind an OpenAI-compatible endpoint;
# - `zephyr evaluate --judgments FILE --annotations FOLDER`: records made elsewhere.
#
# Tried so far, without a judge model: the miniature, and [a real model](../real-model) on a CPU, whose answers a program
# checks. Ask of every figure: how many questions, which judge, paired with what, how many seeds?

# %% [markdown]
# ## Recap
#
# 1. *Scores*: failures are left out and counted, a draw is [half a win](ex-07-win-rate).
# 2. *Biases*: ask in [both orders](ex-07-both-orders), and do not take a length-controlled rate for the true one.
# 3. *What dDPO changed*: content or form, and right answers [within each manner](ex-07-change-parts).
# 4. *Is it real*: the unit is the question, the difference is [paired](ex-07-paired-error), training seeds add chance, and
#    small exams resolve [only large differences](ex-07-questions-needed).
# 5. *Not at face value*: contaminated tasks, faulty runners, grades of different judges: [four questions](ex-07-doubts).
#
# [Chapter 08](08_ablations) asks which step of the pipeline the gain comes from.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 4.2, tables 1 to 3.
# - {cite:t}`zheng2023judging`: MT-Bench, position and length bias. {cite:t}`dubois2024length`: length control.
# - {cite:t}`shoham2024medconceptsqa`: MedConceptsQA. {cite:t}`ouyang2022instructgpt`: the alignment tax.
# - [FastChat](https://github.com/lm-sys/FastChat/tree/main/fastchat/llm_judge) and
#   [AlpacaEval](https://github.com/tatsu-lab/alpaca_eval): record formats.

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
if graded:
    metrics |= {"gain_said": gain_content, "gain_tone": gain_form}
    metrics |= {f"newcomers_{name}": float(np.mean(s)) for name, s in sensible.items()}
artefacts.write_metrics(pipeline.folder / "07_evaluation", metrics)
