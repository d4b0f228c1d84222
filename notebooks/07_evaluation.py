# %% [markdown]
# # Evaluation: what a grade is worth
#
# Base, dSFT and dDPO answer the same questions, and a judge grades them. How certain are the grades, what biases them, and
# what do they not measure? The two protocols are the paper's, MT-Bench {cite:p}`zheng2023judging` and AlpacaEval.

# %% [markdown]
# ## What you will be able to do
#
# - write the loop that generates an answer, and compute MT-Bench and AlpacaEval scores with their errors from raw records;
# - measure a judge's position bias, length bias and self-preference;
# - tell whether dDPO made *your* model right more often or only changed its manner;
# - decide whether a difference is real: paired by question, over seeds, and with enough questions;
# - recognise figures that cannot be taken at face value: contaminated, from a faulty runner, or from another judge.

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
from IPython.display import HTML, display

from zephyr_utils import chat, evaluation, exercises, figures, lessons
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.evaluation.judge_prompts import grading_messages
from zephyr_utils.figures import before_after_table
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.miniature.world import split_of, understand
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.published import published_record, published_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)

# %% [markdown]
# ## Three models, one set of questions
#
# The questions have MT-Bench's shape: two turns, eight categories, the second turn building on the first. The judge is the
# miniature's rule-based teacher, which knows every right answer: the rule that rated the answers for dDPO, here without its
# noise. **Its scale is its own**: no grade on this page compares with a GPT-4 score on MT-Bench.

# %%
exam = pipeline.setting.exam
judge = exam.judge()
questions = pipeline.questions()
first_of = {question["category"]: question for question in reversed(questions)}
print(len(questions), "questions; one of every category:")
for category, question in sorted(first_of.items()):
    print(f"{category:>11}:", " | ".join(question["turns"]))

# %% [markdown]
# Were the students trained on any of them? Each question is built from **combinations** (a name and a topic, the three
# numbers of a sum), and a hash assigns each combination, with all turns of its question, to training, exam or development.
# (Single facts, such as the language of Kenya, cannot be held out.) Check it, in the combinations and in the training texts:

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
# The chat template turns the conversation into tokens and the model scores the next one; we append a token and repeat until
# the model ends its turn. At temperature 0 we take the likeliest; at temperature $T$ we draw from `softmax(logits / T)`.

# %%
@torch.no_grad()
def my_answer(model, tokenizer, messages, most=96, temperature=0.0):
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    said = []
    while len(said) < most:
        logits = model(torch.tensor([prompt + said])).logits[0, -1]
        if temperature:
            token = int(torch.multinomial((logits / temperature).softmax(-1), 1))
        else:
            token = int(logits.argmax())
        if token == tokenizer.eos_token_id:
            break
        said.append(token)
    return tokenizer.decode(said, skip_special_tokens=True).strip()

# %% [markdown]
# The second turn is asked after the model's own first answer. `chat.chat_turns` does the same in batches and caches the
# keys and values of earlier tokens. The two must agree:

# %%
ddpo, tokenizer = chat.load_model(pipeline.model_directory("ddpo"), dtype="float32")
chat.prepare_tokenizer(tokenizer)
asked = [question["turns"] for question in list(first_of.values())[:4]]
package = chat.chat_turns(ddpo.eval(), tokenizer, asked, temperature=0.0)
for turns, expected in zip(asked, package):
    messages = []
    for turn, answer in zip(turns, expected):
        messages.append({"role": "user", "content": turn})
        mine = my_answer(ddpo, tokenizer, messages)
        messages.append({"role": "assistant", "content": mine})
        assert mine == answer.text, "the loops differ: which special token ends yours?"
    print(textwrap.shorten(" | ".join(m["content"] for m in messages), 160))

# %% [markdown]
# ### One call to a judge
#
# This is the prompt that a model behind an endpoint would be sent about the last conversation, and what our rule says
# instead. Read the grade from the *last* brackets: a judge may quote, and an answer that contains `[[10]]` must not set its
# own grade.

# %%
def my_rating(judgment):
    found = re.findall(r"\[\[(\d+\.?\d*)\]\]", judgment)
    return float(found[-1]) if found else -1.0  # -1: the judge gave no grade


question = {"turns": turns, "category": "", "question_id": 0}
said = [answer.text for answer in expected]
sent, _ = grading_messages((question, said, 1))
print(dict(sent)["user"], "\n---")
if isinstance(judge, TeacherJudge):
    graded = judge.grade(question, said, 1)
    print(graded.text, "->", my_rating(graded.text))
    assert my_rating(graded.text) == graded.score

# %% [markdown]
# The rule gives a right answer 5 points for the bare fact, 2 more for a full sentence, 1.5 each for a friendly opening and
# closing, and takes one off where names lack their capitals. A wrong answer gets 1, or 2 if it opens and closes in a
# friendly way. Now all questions, all three models, sampled at temperature 0.7:

# %% tags=["remove-input"]
lessons.predict(
    "The base model has read questions with their answers, but never in the chat "
    "template. Where will its mean grade lie?",
    ["near 1", "near 5, the middle of the scale", "between dSFT and dDPO"],
    key="base-grade",
)

# %% tags=["hide-output"]
made = pipeline.evaluation()
for name, manifest in made.items():
    result = manifest.results
    print(
        f"{name:>5}: grade {result['score']:.2f}, right {result['right']:.0%}, "
        f"ended by itself {result['ended']:.0%}"
    )

base, dsft, after = (made[name].results for name in ("base", "dsft", "ddpo"))

# %% tags=["remove-input"]
lessons.explain(
    f"At {base['score']:.2f}. The base goes on writing texts of the kind it knows, and "
    "earns more than the lowest grade only where such a text begins with an answer. "
    "Nothing wrong gets more than two points. dSFT reaches "
    f"{dsft['score']:.2f}, because it answers at all, and dDPO {after['score']:.2f}. "
    "The share of *right* answers is another number: "
    f"{100 * dsft['right']:.0f} % after dSFT, {100 * after['right']:.0f} % after dDPO. "
    "Is that difference real, and what does it consist of?",
    key="base-grade",
    answer=1
    if abs(base["score"] - 5) < 1.5
    else 0
    if base["score"] < dsft["score"]
    else 2,
)

# %% [markdown]
# Answers and judgments are kept as records in the format of MT-Bench's own tools (FastChat), so that every figure below can
# be recomputed from files:

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
# The sample from the model card of Zephyr-7B-beta, with its licence. Its grade would depend on judge, prompt and year.
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
# over the set $V$ of judgments from which a grade could be read. The package adds turns, categories, failures by reason and
# an interval. Its brackets must end a finished judgment; FastChat takes the first ones, wherever they are.

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
# A judge is a language model and sometimes forgets its brackets. The tools then store -1.

# %% tags=["remove-input"]
lessons.predict(
    "One judgment in twenty has no readable grade. By how much does the mean fall if "
    "somebody averages the column with every -1 in it?",
    ["by 0.05, a twentieth of one", "by a twentieth of (mean + 1)", "not at all"],
    1,
    key="failed",
)

# %% tags=["hide-output"]
broken = [dict(row) for row in judgments["ddpo"]]
for row in broken[::20]:
    row.update(judgment="I would say it is quite good.", score=-1)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    left_out = evaluation.mt_bench_score(broken, questions)
as_stored = np.mean([row["score"] for row in broken])
print(f"left out: {left_out.overall:.3f}   averaged as -1: {as_stored:.3f}")
print(told[0].message)

# %% tags=["remove-input"]
lessons.explain(
    f"By {left_out.overall - as_stored:.2f}. Each failure *replaces* a grade and lies "
    "(mean + one) below the mean, so a twentieth of them costs (mean + one) / twenty. "
    "Nothing crashed. The package leaves failed judgments out, counts them, says why "
    "each failed, and warns.",
    key="failed",
)

# %% [markdown]
# Leaving judgments out is sound only while they are few: a judge may fail on just the long, muddled answers. Above 10 % the
# package refuses:

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
# One mean hides eight. The paper's Figure 1 is such a radar: Zephyr is strong in writing and weak in mathematics and coding.
# The figure's own numbers were never printed. In which categories do the lines of dSFT and dDPO part here?

# %% tags=["hide-input"]
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
    caption="Mean grade by category, both turns, on this rule-based judge's own scale.",
)

# %% [markdown]
# Each corner is a mean over few questions. Both models answered the same ones, so each change has an interval of its own:

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
# A score is a mean over *these* questions; others of the same kind would have given another. Let question $q$ contribute
# the mean of its turns, $x_q$, and let the questions be drawn independently. Then
#
# $$\operatorname{Var}(\bar{x}) = \frac{1}{n^2}\sum_q \operatorname{Var}(x_q) = \frac{\sigma^2}{n}
# \quad\Rightarrow\quad \text{SE} = \frac{s}{\sqrt{n}}, \qquad s^2 = \frac{1}{n-1}\sum_q (x_q - \bar{x})^2 .$$ (eq-07-error)
#
# The **bootstrap** resamples the questions two thousand times, with replacement, and measures how the mean scatters. It
# knows nothing of the formula and has to agree with it.

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
        "yes: more grades give a smaller error",
        "never: a second turn carries no information",
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
    "second, and counting turns would give an error a fifth too small. (Grading one "
    "answer ten times would make anything significant.) The unit is the question.",
    key="unit",
)

# %% [markdown]
# ## Protocol two: which of two answers is better
#
# AlpacaEval shows the judge two answers, a baseline's and the model's, and asks which is better. The paper's baseline is
# text-davinci-003; ours is the dSFT model, so the win rate says what dDPO changed.

# %% [markdown]
# ```{exercise} A win rate with draws
# :label: ex-07-win-rate
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `win_rate(outcomes)`: from a list of `"win"`, `"draw"` and `"loss"`, return the win rate, a number between 0 and 1.
# Swapping the two models must turn a rate of $p$ into $1 - p$.
# ```

# %% tags=["exercise"]
def win_rate(outcomes):
    ...


exercises.check_win_rate(win_rate)

# %% [markdown]
# ```{admonition} Hint: what two equal models must get
# :class: tip dropdown
# Two copies of one model draw every game, and swapping them changes nothing. So $p = 1 - p$.
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
# A judge that is asked once may follow the *position* of an answer, so we ask twice, with the order swapped.
#
# ```{exercise} Asked twice
# :label: ex-07-both-orders
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `both_orders(first, second)` for two verdicts, each `"A"`, `"B"` or `"tie"`. In the first game model 1's answer is
# A, in the second model 2's answer is A. Return model 2's score: 1 if both games name model 2, 0 if both name model 1, else
# 0.5.
# ```

# %% tags=["exercise"]
def both_orders(first, second):
    ...


exercises.check_both_orders(both_orders)

# %% [markdown]
# ```{admonition} Hint: name the model first
# :class: tip dropdown
# Translate each letter into a model first. What does the pair `("A", "A")` say of the two models?
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
# `("A", "A")` names the first position twice: it says something about the judge and nothing about the models.
# ````

# %% [markdown]
# With your two functions, dDPO against dSFT on the first turns:

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
# The package stores the verdicts in the format of AlpacaEval's annotations, so that one function reads ours and the real
# ones:

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
# draw 1.5. Read 0 or null as a loss, and the rate is off without any error. The package knows both codings and counts what
# it left out: `n_missing`, and for version 2 `n_missing_as_draw`.
# ```

# %% [markdown]
# ## From raw records to Table 1
#
# Table 1 of the paper prints a standard error beside each AlpacaEval rate, over 805 instructions. A score that is 1 with
# probability $p$ and 0 otherwise has variance $p(1-p)$, so
#
# $$\text{SE} \approx 100 \sqrt{\frac{p\,(1-p)}{805}} .$$ (eq-07-share)

# %% tags=["remove-input"]
lessons.predict(
    "Zephyr-7B-beta's rate is 90.60 %. Which rates in that table have the largest "
    "standard error?",
    ["those near 100 %", "those near 50 %", "all the same"],
    1,
    key="table-one",
)

# %% tags=["hide-output"]
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

# %% tags=["remove-input"]
lessons.explain(
    "Those near one half, where each instruction is a coin toss. Every printed error "
    f"comes out to within {max(off.values()):.2f}; draws lower the true variance a "
    "little, failed annotations the number of rows. So the paper's error bars are over "
    "instructions alone, not over training seeds or judges.",
    key="table-one",
)

# %% [markdown]
# Now read Table 1 again. Zephyr's 90.60 and GPT-3.5-turbo's 89.37 differ by 1.23 points; if the two rates were independent,
# the difference would have the standard error $\sqrt{1.03^2 + 1.08^2} = 1.49$. So the order of the two is not established.
# Nor is that of two rows of the ablation in Table 3:

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
# What speaks for dDPO at one epoch is therefore the gain on MT-Bench, 7.00 against 6.64, over 80 questions: see *How many
# questions?* below. (The published model had three epochs.)
#
# ### The same from the records themselves (optional)
#
# The annotations are in AlpacaEval's repository under `results/MODEL/alpaca_eval_gpt4/`, GPT-4's judgments of MT-Bench in
# FastChat's; their licences do not let us ship all of them. Put a copy into a folder and name it in `ZEPHYR_REAL_DATA`: the
# next cell recomputes every rate, compares rivals row by row, and correlates length with win rate. It gives:
#
# | | |
# |---|---|
# | Zephyr-7B-beta, AlpacaEval 1 | 90.598 (1.029): 727 won, 75 lost, 1 drawn, 2 failed |
# | MT-Bench, five models, 80 questions | a score alone is known to ± 0.65 to 0.7, the paired difference of neighbours to ± 0.4 to 0.55 |

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
# | Zephyr-7B-beta | paper | model card | what the records or a newer run say |
# |---|---|---|---|
# | MT-Bench, GPT-4, 80 questions | 7.34 | 7.34 | not recomputed: we hold no judgments of it |
# | AlpacaEval 1, against text-davinci-003 | 90.60 (1.03) | 90.60 | 90.598 (1.029) |
# | AlpacaEval 2, against GPT-4 Turbo | – | – | 10.99, length-controlled 13.20 (AlpacaEval's leaderboard) |
# | ARC, HellaSwag | 62.03, 84.52 | 62.03, 84.36 | |
# | MMLU, TruthfulQA | 61.44, 57.44 | 61.07, 57.45 | the last one is contaminated, see below |
#
# Between 90.60 and 10.99 the model did not change; the baseline and the judge did. A win rate describes a *pair* of models
# and a judge.

# %% [markdown]
# ## Judges have biases, and they can be measured
#
# The paper names two: GPT-4 favours models distilled from it (**self-preference**), and long answers (**length bias**). A
# third is **position bias**. To measure a bias you need a judge whose bias is *known*, so we add noise and a bias to the
# rule-based judge.

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
    "does dDPO's win rate lie when both orders must agree?",
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
    f"One order alone gives {low:.0f} or {high:.0f} %: the same answers, the same "
    f"judge. Both orders give {fair.win_rate_2:.0f} %, because the bias pushes once "
    f"each way. The {fair.n_inconsistent} contradictory questions count one half each "
    "and pull the rate towards one half (the unbiased judge says "
    f"{rate.win_rate:.0f} %). Asked in both orders, a biased judge usually keeps the "
    "sign, but it is *less able* to tell two models apart.",
    key="position",
)

# %% [markdown]
# ### Length bias
#
# The win rate in four groups of equal size, from the answers that are shortest compared with the baseline's to the longest:

# %%
for group in evaluation.win_rate_by_length(annotations, n_bins=4):
    print(
        f"{group.length_difference:+6.1f} characters: "
        f"{group.win_rate:5.1f} % ± {group.standard_error:.1f}  ({group.n} questions)"
    )

# %% [markdown]
# To take the length out, fit a curve to the scores, with $d$ the difference of the two lengths and $s$ the standard
# deviation of $d$,
#
# $$P(\text{model preferred}) = \sigma\big(\theta + \phi \tanh(d / s)\big),$$ (eq-07-length)
#
# and read it off at $d = 0$: $100\,\sigma(\theta)$. The idea is AlpacaEval's length-controlled rate
# {cite:p}`dubois2024length`; the formula is our own and simpler, as theirs also needs a difficulty for each instruction,
# estimated from many other models. Newton's method, with a weak prior that draws $\phi$ to zero:

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
for name, raw, at_equal in (
    ("unbiased", rate, controlled), ("length bias", long_rate, long_controlled)
):
    print(
        f"{name:12s} raw {raw.win_rate:5.1f} %   "
        f"length-controlled {at_equal.win_rate:5.1f} %   phi {at_equal.phi:+.2f}"
    )

to_raw = abs(long_controlled.win_rate - rate.win_rate)
to_controlled = abs(long_controlled.win_rate - controlled.win_rate)

# %% tags=["remove-input"]
lessons.explain(
    f"Length control takes the biased judge from {long_rate.win_rate:.0f} to "
    f"{long_controlled.win_rate:.0f} %. The unbiased judge has {rate.win_rate:.0f} % "
    f"raw and {controlled.win_rate:.0f} % controlled. So the control moves an unbiased "
    f"judge's rate too, by {controlled.win_rate - rate.win_rate:+.0f} points: friendly "
    "openings and full sentences *are* longer and *are* what it rewards, and a curve "
    "in the length cannot tell 'liked because it is long' from 'long because it holds "
    "what is liked'. A length-controlled rate says what would be left at equal length. "
    "It can lie further from the true rate than the raw one.",
    key="length",
    answer=2 if min(to_raw, to_controlled) > 10 else 0 if to_raw < to_controlled else 1,
)

# %% [markdown]
# ### Self-preference, and what is inside a grade
#
# Our judge is the rule behind the preferences that dDPO was trained on: what the paper admits for GPT-4, in miniature. But
# a rule can be taken apart. Each grade is a sum: **content** (5 for right, 1 for wrong) and **form** (the rest).

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
    print("The judge of this scale checks content alone.")

share = gain_content / total.mean if graded and total.mean else 1.0
reading = (
    "The mean grade alone would call the model more helpful than it is: pairs are made "
    "of answers by other models, so they teach what a good answer *looks* like at "
    "least as readily as how to find the right one."
    if share < 1 / 3
    else "So the grade tells the truth here: dDPO brought out right answers."
    if share > 2 / 3
    else "Both moved, so neither the grade nor the share of right answers is enough."
)

# %% tags=["remove-input"]
lessons.explain(
    f"Of {total.mean:+.2f}, content makes {gain_content:+.2f} and form "
    f"{gain_form:+.2f}. {reading} (A likely reason, not tested here: a friendly "
    "opening is one of a few short phrases and easy to learn; a fact is other tokens "
    "each time.)",
    key="content", answer=0 if share > 2 / 3 else 1 if share < 1 / 3 else 2,
)

# %% [markdown]
# ### Right by manner: Simpson's paradox
#
# If friendly answers are right less (or more) often than plain ones, a shift from one manner to the other changes the share
# of right answers, although nothing changed *within* either. It can even turn the sign (**Simpson's paradox**). So split the
# change:
#
# $$\Delta = \underbrace{\sum_m \bar{w}_m\, \Delta p_m}_{\text{within manners}}
# + \underbrace{\sum_m \Delta w_m\, \bar{p}_m}_{\text{composition}},$$ (eq-07-simpson)
#
# with $w_m$ the share of answers in manner $m$, $p_m$ the share of them that is right, $\Delta$ after minus before, and a
# bar for the mean of before and after.

# %% [markdown]
# ````{exercise} A change, taken apart
# :label: ex-07-change-parts
#
# **Difficulty** ●●●●○ · **Minutes** 15
#
# Write `change_parts`: each argument is an array with one entry per manner. Return the two sums of {eq}`eq-07-simpson`,
# within and composition, which must add up to the change of the overall share.
# ````

# %% tags=["exercise"]
def change_parts(share_before, share_after, right_before, right_after):
    ...  # return within, composition


exercises.check_change_parts(change_parts)

# %% [markdown]
# ```{admonition} Hint: the overall share
# :class: tip dropdown
# Before, it is `(share_before * right_before).sum()`. Write after minus before, and add and subtract a mixed term.
# ```
#
# ```{admonition} Hint: almost the code
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
# On this run: all answers of both turns, friendly (an opening or a closing) or plain, before and after dDPO.

# %% tags=["remove-input"]
lessons.predict(
    "Does the change *within* manners have the same sign as the change of the overall "
    "share of right answers?",
    [
        "yes",
        "no: composition turns the sign",
        "the overall share hardly changes (by less than half a point)",
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
    for n, manner in enumerate(("friendly", "plain")):
        print(
            f"{manner:>8}: {w_0[n]:4.0%} of the answers, {p_0[n]:4.0%} right -> "
            f"{w_1[n]:4.0%}, {p_1[n]:4.0%} right"
        )
    within, composition = take_apart(w_0, w_1, p_0, p_1)
    change = float(w_1 @ p_1 - w_0 @ p_0)
    print(
        f"all: {change:+.1%} = within {within:+.1%} + composition {composition:+.1%}"
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
    f"They are right in {100 * p_0[0]:.0f} % before and {100 * p_1[0]:.0f} % after, "
    f"plain ones in {100 * p_0[1]:.0f} % and {100 * p_1[1]:.0f} %. The total changes "
    f"by {100 * change:+.1f} points: {100 * within:+.1f} within the manners, "
    f"{100 * composition:+.1f} by composition. {verdict} (Manner is not assigned at "
    "random, so this describes the change and does not explain it.)"
    if graded
    else "The judge of this scale knows no manner.",
    key="simpson",
    answer=(2 if abs(change) < 0.005 else 1 if turned else 0) if graded else None,
)

# %% [markdown]
# ## Is the difference real?
#
# Two models answered the *same* questions. Hard questions are hard for both, so their difference is known better than
# either mean:
#
# $$\operatorname{Var}(\bar{x} - \bar{y}) = \frac{\sigma_x^2 + \sigma_y^2 - 2\rho\,\sigma_x\sigma_y}{n} .$$ (eq-07-paired)

# %% [markdown]
# ```{exercise} The error of a difference
# :label: ex-07-paired-error
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `paired_error(a, b)`: two models' grades on the same questions, as NumPy arrays. Return the standard error of the
# difference of their means.
# ```

# %% tags=["exercise"]
def paired_error(a, b):
    ...


exercises.check_paired_error(paired_error)

# %% [markdown]
# ```{admonition} Hint: one number per question
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

# %% tags=["remove-input"]
lessons.predict(
    "dDPO and dSFT answered the same questions. How much smaller than the unpaired "
    "standard error of their difference is the paired one?",
    ["by less than a tenth, if at all", "by a tenth to a half", "by more than half"],
    key="pairing",
)

# %% tags=["hide-output"]
error_of = exercises.yours(paired_error, exercises.check_paired_error)
x, y = means["ddpo"], means["dsft"]
paired = error_of(x, y)
unpaired = math.hypot(my_standard_error(x), my_standard_error(y))
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
    f"The paired error is {paired / unpaired:.2f} times the unpaired one. Pairing "
    "helps as far as the two models find the same questions hard: here $\\rho$ is "
    f"{rho:+.2f}. With a $\\rho$ near zero it would gain nothing and cost nothing.",
    key="pairing",
    answer=0 if paired > 0.9 * unpaired else 1 if paired > unpaired / 2 else 2,
)

# %% [markdown]
# How often would chance alone make such a difference? If the two models were the same, each question's difference could as
# well have the other sign. So flip the signs at random, ten thousand times, and count. (The package counts the observed
# signs as one more flip, so its p is never zero.)

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
# The intervals so far cover *other questions*. Two more things could have come out otherwise: the sampling at temperature
# 0.7, and the training. The first is cheap to try: ask the dDPO model again with other seeds.

# %%
again = [scores["ddpo"].overall]
for other_seed in (seed + 11, seed + 12):
    with tempfile.TemporaryDirectory() as folder:
        again.append(
            run_exam(
                ddpo, tokenizer, "ddpo", questions, Path(folder), judge,
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
# The error over questions includes this already: each $x_q$ was drawn once, so the noise of its draw is part of $s$. It does
# not include the seed of the *training*. `make claims` repeats the whole pipeline with $n$ seeds; the interval is then
# Student's, $\bar{x} \pm t_{n-1}\,s/\sqrt{n}$, and for five seeds $t_4 = 2.78$ and not 1.96.

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
            print(f"{better} − {worse}, {figure}: {found} ({side})", np.round(gaps, 2))

# %% [markdown]
# *Either* says that the interval includes zero: this many trainings cannot tell.
#
# ### How many questions?
#
# A true difference of exactly 1.96 standard errors is found only half of the time, because the estimate falls as often
# below the truth as above it: that is 50 % **power**. For 80 % the true difference has to be $1.96 + 0.84$ standard errors.
#
# ```{exercise} How many questions?
# :label: ex-07-questions-needed
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# The paired differences of two models have the standard deviation `sd`. Write `questions_needed(sd, gap)`: the smallest
# whole number of questions with which a true difference of `gap` is at least $1.96 + 0.84$ standard errors.
# ```

# %% tags=["exercise"]
def questions_needed(sd, gap):
    ...


exercises.check_questions_needed(questions_needed)

# %% [markdown]
# ```{admonition} Hint: solve for n
# :class: tip dropdown
# Start from $(1.96 + 0.84)\,\text{sd}/\sqrt{n} = \text{gap}$.
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
#     return math.ceil(((1.96 + 0.84) * sd / gap) ** 2)
# ```
# With `sd = 2.2`, as between neighbours in public judgments of MT-Bench, Table 1's gap of 0.22 between Zephyr-7B-beta's
# 7.34 and Vicuna-33B's 7.12 takes some 785 questions; MT-Bench has 80. (With 1.96 alone the formula gives 385, and half of
# such exams would miss the gap.)
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
axes.legend()
figures.show(
    fig,
    alt=(
        f"The smallest difference falls from {seen[0]:.2f} at 20 questions to "
        f"{seen[2]:.2f} at 80 and {seen[-1]:.2f} at 1,280; measured {total.mean:+.2f}."
    ),
    caption="It takes four times the questions to see half the gap.",
)

# %% [markdown]
# Without a formula: draw 80 of our questions again and again, and count how often the two models keep their order.

# %%
rng = np.random.default_rng(seed)
of_80 = np.array([rng.choice(x - y, 80).mean() for _ in range(5000)])
print(
    "dDPO − dSFT over 80 questions: 95 % of the draws between "
    f"{np.quantile(of_80, 0.025):+.2f} and {np.quantile(of_80, 0.975):+.2f}; "
    f"same order as over all {len(x)} in "
    f"{np.mean(np.sign(of_80) == np.sign(total.mean)):.1%}"
)

# %% [markdown]
# In public records of GPT-4's judgments the mean grade of a question has a standard deviation of three points, so an
# MT-Bench score alone is known to ± 0.65 to 0.7 and a paired difference to ± 0.4 to 0.55. A gap of 0.22 is below what the
# benchmark can resolve, whoever is ahead; so is Table 3's gain from dSFT-1 to dDPO + dSFT, 0.36.

# %% [markdown]
# ## Before and after, the same questions
#
# One question of each category, all three models, with the grade of the first turn:

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
            caption="First turns, sampled at temperature 0.7; the grade in brackets.",
        )
    )
)

# %% [markdown]
# Look for answers that are right and bare beside answers that are friendly and false, for an opening that comes again and
# again, and for answers that do not end. Then the questions on which dSFT and dDPO differ most:

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
# **Contaminated.** Table 2 of the paper has academic tasks without a judge. UltraFeedback, the source of Zephyr's pairs,
# included prompts of TruthfulQA, and a few more inside its other sources; both were removed later. So one of these four
# columns was partly seen in training:

# %%
table_2 = published_table("table_2")
for row in table_2.rows:
    if row["model"] in ("Mistral-Instruct v0.1", "Zephyr-7B-β", "Llama2-Chat"):
        print(
            f"{row['model']:>22}",
            {name: row[name] for name in ("arc", "hellaswag", "mmlu", "truthfulqa")},
        )
print(textwrap.fill(table_2.note, 88))

# %% [markdown]
# **From a faulty runner.** On MedConceptsQA, four choices about medical codes, Zephyr-7B-beta was published at 25 %. Does
# it know no medicine, or was it never asked? Compare the other open models, in April and in July of 2024:

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
# In April all these open models, one of 70 billion parameters among them, scored the 25 % of guessing. That is the mark of
# a fault: the runner had put a classification head on each model, and for a causal model such a head is random. In July the
# others' figures were replaced, and rose. Zephyr's row was dropped, so **its score is unknown** ([errata](../errata), 16).
#
# Such tasks are run with EleutherAI's lm-eval (`pip install "zephyr-handbook[academic]"`), which
# `zephyr evaluate MODEL --academic med_concepts_qa:4` calls:

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
# **From another judge.** The published 7.34 is a mean of GPT-4's grades in 2023 on 80 questions. Another judge, prompt or
# set of questions moves the scale, and our grades come from rules about a tiny world. The two have no common unit.

# %% [markdown]
# ## Your turn with your own data
#
# ```{admonition} Common mistakes
# :class: warning
# - Grades of two judges, or of two versions of one, are not on one scale. Grade all your models again with one judge.
# - A judge that is asked once follows the position; ask in both orders (`--baseline` does).
# - A judge that fails on long answers makes them vanish from the mean. Look at `n_failed` before the score.
# - One file copied under two names makes two models "tie". The report says so.
# - Questions that leaked into training measure memory ([Chapter 04](04_preference_pairs)).
# ```
#
# Each of these writes a report (`report.html`, which needs no other file, and `report.json`):
#
# - `zephyr evaluate base dsft ddpo --baseline dsft`: what this chapter did;
# - `zephyr evaluate MODEL_DIRECTORY --questions question.jsonl --judge NAME --judge-url URL`: MT-Bench's own 80 questions,
#   graded by any model behind an OpenAI-compatible endpoint; a run that was stopped pays for no judgment twice;
# - `zephyr evaluate answers.jsonl --questions ...`: answers that you have already;
# - `zephyr evaluate --judgments FILE --annotations FOLDER`: records made elsewhere; no model, no judge, no cost.
#
# Then ask of every figure: how many questions, which judge, paired with what, and how many seeds?

# %% [markdown]
# ## Recap
#
# - **Scores from raw records:** a generation loop; failures left out and counted; a draw is half a win
#   ([exercise](ex-07-win-rate)); Table 1's errors are $\sqrt{p(1-p)/805}$.
# - **The judge's biases:** one order follows the position, both orders pull towards one half
#   ([exercise](ex-07-both-orders)), and length control removes good length with the bad.
# - **What dDPO improved:** content and form, and right answers by manner ([exercise](ex-07-change-parts)).
# - **Is it real:** the unit is the question, the difference is paired ([exercise](ex-07-paired-error)), training seeds are
#   another source of chance, and small exams resolve only large differences ([exercise](ex-07-questions-needed)).
# - **Not at face value:** TruthfulQA in Table 2, MedConceptsQA from a faulty runner, any grade beside another judge's.
#
# [Chapter 08](08_ablations) asks which step of the pipeline the gain comes from.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 4.2, Tables 1 to 3, and the limitations of GPT-4 as judge.
# - {cite:t}`zheng2023judging`: MT-Bench, the two judging protocols, position and length bias.
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
if graded:
    metrics |= {"gain_said": gain_content, "gain_tone": gain_form}
artefacts.write_metrics(pipeline.folder / "07_evaluation", metrics)
