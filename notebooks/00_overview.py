# %% [markdown]
# # Zephyr in ten minutes
#
# In October 2023 a chat model of seven billion parameters matched others ten times its size, and no person had rated a
# single one of its answers. *Zephyr: Direct Distillation of LM Alignment* {cite:p}`tunstall2023zephyr` describes three
# steps: **dSFT** (distilled supervised fine-tuning: copy a teacher's dialogues), **AI feedback** (a stronger model rates
# answers) and **dDPO** (distilled direct preference optimisation: prefer the better rated answer). *Distilled* means that a
# model takes the place of people. This chapter tells the whole story once; by its end you have questioned a base model,
# the same model after dSFT, and after dDPO. Reading takes ten minutes; the exercises are for later.

# %% [markdown]
# ## What you will be able to do
#
# 1. Say what Zephyr did, in three steps with one formula each, and compute each formula by hand.
# 2. Choose a scale for your machine, and say how many optimiser steps a run takes before you start it.
# 3. Compare base, dSFT and dDPO on questions of your own, and read the results, including what a mean hides.

# %% [markdown]
# ## Set-up
#
# Every chapter opens with three folded cells. They load the package, set the parameters, and import what follows.
# `scale` chooses model, data and recipe together; the other parameters replace one of them by something of your own,
# and `settings` takes any other option of `Pipeline`, such as `{"limit": 400}` for the first 400 rows.

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
import inspect
import math
import re
import textwrap
import warnings

import torch
from IPython.display import Markdown, display

from zephyr_utils import (
    chat, exercises, figures, lessons, objectives, preferences as pairing, published,
    training,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import (
    EvaluationWarning, bootstrap_interval, load_rows, mt_bench_difference,
    mt_bench_score, wilson_interval,
)
from zephyr_utils.explorers.answers import Answers
from zephyr_utils.miniature.shipped import load_shipped
from zephyr_utils.miniature.small_talk import EXAMPLE_QUESTIONS
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.scales import SCALES, check_machine
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## The real thing
#
# This is Zephyr-7B-β, in the sample that its model card prints. What the model sees is the text below, role markers and
# all; it wrote what follows the last of them.

# %%
real = published.published_record("zephyr_answer")
for message in real.record["messages"]:
    print(f"<|{message['role']}|>")
    print(textwrap.fill(message["content"] + "</s>", 88))
print(f"\n{real.attribution}")

# %% [markdown]
# It keeps to its system prompt, answers the question, and stops. The package ships the trained adapters of our miniature, a
# model five thousand times smaller. It answers too, about the little that it knows, and makes mistakes:

# %%
with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of a library
    aligned, small_tokenizer = load_shipped("ddpo")
chat.prepare_tokenizer(small_tokenizer)
newcomers = [[{"role": "user", "content": text}] for text in EXAMPLE_QUESTIONS]
first_answers = chat.generate(
    aligned, small_tokenizer, newcomers, temperature=0.0, max_new_tokens=60
)
for text, reply in zip(EXAMPLE_QUESTIONS, first_answers, strict=True):
    print(f"{text:<35} {reply.text}")

# %% [markdown]
# You will train this model yourself below. InstructGPT {cite:p}`ouyang2022instructgpt` had needed people to write and to
# compare answers, tens of thousands of times. Zephyr replaced both by stronger models. It was measured by MT-Bench
# {cite:p}`zheng2023judging`, where GPT-4 grades answers from 1 to 10, and by AlpacaEval, the share of answers that GPT-4
# prefers to those of an older model.

# %% tags=["remove-input"]
lessons.predict(
    "The paper's Table 1 has five larger open models with an MT-Bench score, of 33, "
    "40, 65, 70 and 70 billion parameters. How many of them score below Zephyr-7B?",
    ["one or two", "three", "four", "all five"],
    2,
    key="larger",
)

# %% tags=["hide-output"]
table = [row for row in published.published_table("table_1").rows if row["mt_bench"]]
display(Markdown(markdown_table(
    ("model", "MT-Bench", "size", "alignment"),
    [
        (
            row["model"], f"{row['mt_bench']:.2f}", row["size"] or "unknown",
            row["alignment"] or "–",
        )
        for row in sorted(table, key=lambda row: row["mt_bench"])
    ],
    numbers=(1, 2),
)))
zephyr = next(row for row in table if row["model"] == "Zephyr-7B-β")
larger = [row for row in table if row["size"] and int(row["size"].rstrip("B")) > 7]
behind = [row["model"] for row in larger if row["mt_bench"] < zephyr["mt_bench"]]
print(f"{len(behind)} of {len(larger)} larger models score lower: {', '.join(behind)}")

# %% tags=["remove-input"]
lessons.explain(
    f"{len(behind)} of {len(larger)}, among them `Llama2-Chat-70B`, which had been "
    "aligned with people's ratings. In *chat*, size was not decisive; in mathematics "
    "and code Zephyr stays behind, as the paper says. And mind the judge: GPT-4 graded "
    "models that had learned from GPT-4 (Chapter 07). (Zephyr-7B-α, the first version, "
    "is in the model card and not in the paper's table.)",
    key="larger",
)

# %% [markdown]
# The table's last column names the method of alignment. SFT copies good answers. [RLHF and PPO](10_reward_models) train
# against a reward model that is fitted to preferences, DPO on the preferences themselves. A *d* in front means *distilled*.
#
# ## Who takes part
#
# | who | in the paper | in the miniature |
# |---|---|---|
# | the **student** $\pi_\theta$ | Mistral-7B {cite:p}`jiang2023mistral` | a Mistral-shaped model of a million parameters or so, really trained |
# | the **teacher** of dialogues $\pi_T$ | GPT-3.5-turbo, through UltraChat {cite:p}`ding2023ultrachat` | a program whose answers are right or wrong, and friendly, plain or curt, in a stated mix |
# | the **four models** $\pi_1 \dots \pi_4$ that answer each prompt | drawn from 17, through UltraFeedback {cite:p}`cui2023ultrafeedback` | four programs of graded skill |
# | the **judge** that rates them | GPT-4 | a rule with noise added, so that it errs as judges do |
# | the **examiner** at the end | GPT-4 | the same rule without the noise |
#
# The student is real at every scale: its weights move by gradient descent. In the miniature the others are stand-ins, so
# that everything runs without an account.
#
# One question of the miniature on its way through the steps. Later chapters draw what happens to it in each.
#
# ![Four steps under each other. dSFT: the student copies a teacher's answer to the question. AI feedback: four models
# answer it, and a judge rates the answers, drawn as bars. Pairs: the best answer is chosen, a random lower one is
# rejected. dDPO: an arrow up at the chosen answer, one down at the rejected.](figures/one-question.svg)
#
# *What is the capital of Spain? A teacher answers and the student copies; four models answer and the judge rates; the
# best and a random lower answer make a pair, from which the student learns what to prefer. The bars are drawn, not
# measured.*

# %% [markdown]
# ## Step 1, dSFT: make the teacher's words likely
#
# Let $\mathcal C$ be a set of dialogues, $x$ what was asked and $y$ what the teacher answered. Maximise the
# log-likelihood of its answers:
#
# $$\pi_{\text{dSFT}} = \arg\max_\pi \; \mathbb E_{(x, y) \sim \mathcal C} \log \pi(y \mid x).$$ (eq-00-dsft)
#
# The probability of a text is the product of the probabilities of its tokens. Logarithms are natural; their unit is the
# [nat](../glossary).

# %% [markdown]
# ```{exercise} The loss of a text
# :label: ex-00-loss
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `text_loss_of(probabilities)`. The argument lists the probability of each token of a text. Return the text's loss:
# minus the log-probability of the whole text, in nats.
# ```

# %% tags=["exercise"]
def text_loss_of(probabilities):
    ...


exercises.check_text_loss(text_loss_of)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Products become sums under a logarithm. Mind the sign.
# ```
#
# ````{solution} ex-00-loss
# :class: dropdown
# ```python
# def text_loss_of(probabilities):
#     return -sum(math.log(p) for p in probabilities)
# ```
# ````

# %% [markdown]
# Say an answer has four tokens, `Par`, `is`, `.` and the end-of-sequence token, with these probabilities:

# %%
text_loss_of = exercises.yours(text_loss_of, exercises.check_text_loss)
probabilities = [0.6, 0.9, 0.8, 0.5]
print(
    f"probability {math.prod(probabilities):.4f}, "
    f"loss {text_loss_of(probabilities):.4f} nats"
)
assert math.isclose(text_loss_of(probabilities), -math.log(math.prod(probabilities)))

# %% [markdown]
# ## Step 2, AI feedback: ratings become pairs
#
# Each prompt $x$ goes to four models. The judge gives each answer $y_i$ a score $s_i$, the mean of its ratings from 1 to 5
# in four aspects. Two of the four answers are kept: the best, $y_w$, is *chosen*, and a *random* lower one, $y_l$, is
# *rejected*:
#
# $$
# \begin{gathered}
# \mathcal D = \{(x, y_w, y_l)\}, \\
# w = \arg\max_i s_i, \quad l \sim \mathrm{Uniform}\{i : s_i < s_w\}.
# \end{gathered}
# $$ (eq-00-pairs)
#
# Why not the worst? The paper wants more variety and a harder task ([Chapter 04](04_preference_pairs) measures both). The
# first row of the feedback, and the pair made of it:

# %%
rated = pipeline.load("feedback", "feedback").records
row = rated[0]
print("prompt:", row["instruction"])
for completion in row["completions"]:
    print(
        f"  mean {pairing.mean_rating(completion):.2f}  "
        f"{completion['model']:<12} {completion['response'][:60]!r}"
    )
for pair in pairing.binarize([row]).pairs:
    for side in ("chosen", "rejected"):
        print(f"{side:>8}: {pair[side][-1]['content'][:70]!r}")

# %% [markdown]
# ## Step 3, dDPO: prefer the chosen
#
# Equation 1 of the paper, DPO {cite:p}`rafailov2023dpo` on a judge's preferences:
#
# $$
# \begin{aligned}
# \mathcal L = -\,\mathbb E_{(x, y_w, y_l) \sim \mathcal D} \log \sigma\bigg(
#   & \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{dSFT}}(y_w \mid x)} \\
#   & - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{dSFT}}(y_l \mid x)}\bigg) .
# \end{aligned}
# $$ (eq-00-ddpo)
#
# Read it from the inside. By what factor has the student made the chosen answer likelier since dSFT, and the rejected one?
# The logarithms of the two factors, times a small number $\beta$ (0.1 in the paper), are the *implicit rewards* of the two
# answers. Their difference is the *reward margin* $m$: the student ranks a pair as the judge did when $m > 0$. The
# sigmoid $\sigma(m) = 1 / (1 + e^{-m})$ is the probability of the judge's preference in the *Bradley-Terry model*
# {cite:p}`bradley1952rank` with these rewards. Four numbers in, one out:

# %%
def preference_loss(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    margin = beta * (
        (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)
    )
    return -torch.log(torch.sigmoid(margin)).mean()

# %%
# log-probabilities of whole answers; the package's version is objectives.dpo_loss
logs = [torch.tensor([value]) for value in (-12.0, -19.0, -15.0, -16.0)]
ours, packaged = preference_loss(*logs, beta=0.1), objectives.dpo_loss(*logs, beta=0.1)
print(
    f"margin {0.1 * ((-12 + 15) - (-19 + 16)):.2f}, "
    f"loss {ours:.6f}, package {packaged:.6f}"
)
assert torch.isclose(ours, packaged)

# %% tags=["remove-input"]
lessons.predict(
    r"dDPO starts at the dSFT model: $\pi_\theta = \pi_{\text{dSFT}}$. What is the "
    r"loss before the first optimiser step?",
    ["0", "ln 2, whatever the pairs", "ln 2 times $\\beta$", "it depends on the pairs"],
    1,
    key="first-loss",
)

# %% tags=["hide-output"]
same = [logs[0], logs[1], logs[0], logs[1]]
print(
    f"loss {preference_loss(*same, beta=0.1):.6f}, "
    f"with beta = 5 {preference_loss(*same, beta=5.0):.6f}, ln 2 = {math.log(2):.6f}"
)

# %% tags=["remove-input"]
lessons.explain(
    "The loss of a coin toss: both ratios are one, the margin is zero and "
    "$\\sigma(0) = \\tfrac12$. A loss of zero would need a margin without end. Only "
    "*changes* since dSFT count, so neither the pairs nor $\\beta$ matter yet. A first "
    "loss other than ln 2 means that the run started at another model than its "
    "reference. Even ln 2 is not proof enough (Chapter 05).",
    key="first-loss",
)

# %% [markdown]
# ```{exercise} The probability of a preference
# :label: ex-00-preference
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `preferred(reward_chosen, reward_rejected)`: return the probability that the chosen answer is preferred, in the
# Bradley-Terry model.
# ```

# %% tags=["exercise"]
def preferred(reward_chosen, reward_rejected):
    ...


exercises.check_preference_probability(preferred)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The sigmoid of which difference? Equal rewards must give one half.
# ```
#
# ````{solution} ex-00-preference
# :class: dropdown
# ```python
# def preferred(reward_chosen, reward_rejected):
#     return 1 / (1 + math.exp(-(reward_chosen - reward_rejected)))
# ```
# ````

# %% [markdown]
# ```{exercise} Steps 2 and 3 in one function
# :label: ex-00-row-loss
#
# **Difficulty** ●●●●○ · **Minutes** 20
#
# Write `row_loss(scores, policy, reference, beta)` for one prompt with several answers. The first three arguments list the
# answers' scores, and their log-probabilities under the student and under the dSFT model. Return the expected dDPO loss of
# the first best answer against a random lower one: the mean of the losses over all lower answers. Return None where no
# answer scores lower.
# ```

# %% tags=["exercise"]
def row_loss(scores, policy, reference, beta):
    ...


exercises.check_row_loss(row_loss)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The implicit reward of answer $i$ is `beta * (policy[i] - reference[i])`.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# List the lower answers first. For each, the loss is `-math.log(preferred(reward of the best, its reward))`; return their
# mean. Answers that tie with the best are not lower.
# ```
#
# ````{solution} ex-00-row-loss
# :class: dropdown
# ```python
# def row_loss(scores, policy, reference, beta):
#     best = scores.index(max(scores))
#     lower = [n for n, score in enumerate(scores) if score < scores[best]]
#     reward = [beta * (now - before) for now, before in zip(policy, reference)]
#     losses = [-math.log(1 / (1 + math.exp(-(reward[best] - reward[n])))) for n in lower]
#     return sum(losses) / len(losses) if losses else None
# ```
# ````

# %%
preferred = exercises.yours(preferred, exercises.check_preference_probability)
row_loss = exercises.yours(row_loss, exercises.check_row_loss)
print("three margins:", [round(preferred(m, 0.0), 3) for m in (-1.0, 0.0, 1.0)])

# %% [markdown]
# That is all of Zephyr: no reward model, no sampling during training, no person who rates. The rest of the book is what it
# takes to do these three steps *right*.

# %% [markdown]
# ## Scale
#
# The same notebooks run at several scales. A scale is three sources (base model, dialogues, feedback), a number of rows
# and two recipes (dSFT, dDPO); everything else follows. Which of them can *this* machine run?

# %%
def fits(one):
    try:
        return f"yes ({check_machine(one)})"
    except HandbookError as refusal:
        reason = str(refusal).splitlines()[0].removeprefix("--scale: ")
        return "no: " + reason.partition(" (")[0]


display(Markdown(markdown_table(
    ["`scale`", "base model", "rows read", "runs on", "memory", "this machine"],
    [
        [
            f"`{one.name}`", getattr(one.base_model, "path", "in the package"),
            f"{one.limit:,}" if one.limit else "all", one.runs_on,
            f"{one.memory_gb} GB", fits(one),
        ]
        for one in SCALES.values()
    ],
)))

# %% [markdown]
# *Yes* says that it fits, not that it is quick; [Chapter 09](09_scaling_up) estimates the hours.

# %% [markdown]
# ```{exercise} How many optimiser steps?
# :label: ex-00-steps
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# An *optimiser step* (in this book: a step) is one change of the weights, after the batches of all devices, accumulated
# ones included. Write `steps(rows, epochs, per_device_batch, accumulation, devices)`: return the number of steps of a whole
# run. The last step of an epoch may take fewer rows.
# ```

# %% tags=["exercise"]
def steps(rows, epochs, per_device_batch, accumulation, devices):
    ...


exercises.check_steps(steps)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# First the *effective batch*: the rows that one step takes on all devices.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `math.ceil` in each epoch, then times the epochs.
# ```
#
# ````{solution} ex-00-steps
# :class: dropdown
# ```python
# def steps(rows, epochs, per_device_batch, accumulation, devices):
#     return math.ceil(rows / (per_device_batch * accumulation * devices)) * epochs
# ```
# ````

# %% tags=["remove-input"]
lessons.predict(
    "The authors trained dDPO on 61,966 pairs for three epochs, with two pairs on "
    "each of 16 GPUs per step. How many steps did the run take?",
    ["about 360", "about 5,800", "about 93,000"],
    1,
    key="steps",
)

# %% tags=["hide-output"]
steps = exercises.yours(steps, exercises.check_steps)
recipe = pipeline.recipe("ddpo")
authors = steps(61_966, 3, 2, 1, 16)
ours_at_most = steps(
    len(rated), recipe["num_train_epochs"], recipe["per_device_train_batch_size"],
    recipe["gradient_accumulation_steps"], 1,
)
print(f"Zephyr-7B-beta: {authors:,} steps; {pipeline.scale}: at most {ours_at_most:,}")

# %% tags=["remove-input"]
lessons.explain(
    f"{authors:,}. The log on the model card ends at step "
    f"{lessons.published('5,800', 'model card')}, and the run took "
    f"{lessons.published('6.6 hours on 16 GPUs', 'its all_results.json')}. "
    f"This scale takes at most {ours_at_most:,} (some rows give no pair, and some "
    "pairs are held out). Each step takes one batch on *every* device, so more devices "
    "mean fewer steps.",
    key="steps",
)

# %% [markdown]
# ## The miniature world
#
# The miniature is a closed world of a few hundred words: names, countries, sums, notes, riddles, some small talk. It is
# so small that a model of a million parameters can know all of it, and so closed that a rule can tell right from wrong.
# What it writes has UltraChat's and UltraFeedback's schemas *and their faults*. Two dialogues, as they come:

# %%
for dialogue in pipeline.load("dialogues", "dialogue").records[1:3]:
    for message in dialogue["messages"]:
        print(f"{message['role']:>10}: {message['content']}")
    print()

# %% [markdown]
# In some dialogues an answer begins well and goes on without capitals: the fault of [Chapter 01](01_truecasing). The exam has
# MT-Bench's eight categories and two turns. Its questions ask for combinations (of names, numbers, places) that are held out
# from training, except for a few that are hidden among the feedback's prompts on purpose:
# [Chapter 04](04_preference_pairs) finds these leaks, and the pipeline removes them.

# %%
questions = pipeline.questions()
one_each = {question["category"]: question for question in questions}.values()
for question in one_each:
    print(f"{question['category']:>11}: {' | '.join(question['turns'])}")

# %% [markdown]
# ## See it happen
#
# Begin with the base model, which has read much about this world but never a chat.

# %% tags=["remove-input"]
lessons.predict(
    "The base model is asked a question in the chat format. What will it do?",
    [
        "say something and stop", "go on writing, past any answer",
        "give no answer at all",
    ],
    key="base",
)

# %% tags=["hide-output"]
base, tokenizer = chat.load_model(pipeline.model_directory("base"))
chat.prepare_tokenizer(tokenizer)
first = next(iter(one_each))["turns"][0]
[answer] = chat.generate(
    base, tokenizer, [[{"role": "user", "content": first}]], temperature=0.0,
    max_new_tokens=60,
)
print("asked:", first, "\n", answer.text, "\n")
print(f"ended by itself: {answer.ended}, after {answer.n_tokens} tokens")
said = re.sub(r"<\|\w+\|>", "", answer.text).strip()
what_came = 2 if not said else 0 if answer.ended else 1

# %% tags=["remove-input"]
lessons.explain(
    (
        "It said something and stopped. ",
        "It went on writing until it was cut off. ",
        "It wrote role markers and nothing else. "
        + ("Even so it ended by itself, as a document does. " if answer.ended else ""),
    )[what_came]
    + "A base model continues a text as its documents go on. Nothing has told it that "
    "these marks mean *you are asked, answer, stop*. In the paper's appendix a model "
    "given dDPO without dSFT, which never learned the template either, ends its "
    "answers in bare role markers. (Base models of billions of parameters often do "
    "answer here: they have met chats on the web.)",
    key="base",
    answer=what_came,
)

# %% [markdown]
# Now the other two. **The next cell makes what is missing**: truecased dialogues, dSFT, pairs, dDPO, in some minutes on two
# cores. What exists is reused, here and in every later chapter, and a run that was killed resumes where it stopped.

# %%
for make in (pipeline.truecased, pipeline.dsft, pipeline.pairs, pipeline.ddpo):
    step = make()
    print(
        f"{step.folder.name:<20} {'reused' if step.reused else 'made now'} "
        f"({step.seconds:.0f} s of work): {step.rows['rows_in']:,} rows in = "
        f"{step.rows['rows_out']:,} out + {step.rows['rows_set_aside']:,} set aside"
    )
names = {"base": "base", "dSFT": "dsft", "dSFT + dDPO": "ddpo"}
directories = {shown: pipeline.model_directory(name) for shown, name in names.items()}

# %% [markdown]
# Pick a question. On this page the box offers questions that were asked beforehand; in a running notebook it takes your
# own. The fourth lies outside the miniature's world, and the right answer says so.

# %%
def grade(question, text):
    return grade_turn([question], [text], 1)


asked = [question["turns"][0] for question in one_each]
if pipeline.scale == "miniature":
    asked = [*EXAMPLE_QUESTIONS, *asked]
explorer = Answers(directories, asked, grade, max_new_tokens=60)
explorer

# %% [markdown]
# dSFT answers and stops, in the styles of its teacher, errors included. dDPO has shifted towards what the judge preferred:
# it has learned which of its possible answers to prefer. To some questions both give the same answer, word for word.
#
# Your `row_loss` measures the shift on rows of feedback whose prompts were held out. Before dDPO its mean is ln 2. And after?

# %%
held_out_prompts = {pair["prompt"] for pair in pipeline.split_pairs()[1]}
held_out_rows = [r for r in rated if r["instruction"] in held_out_prompts][:48]


def log_probs(directory):
    model, tokenizer = chat.load_model(directory, dtype="float32")
    chat.prepare_tokenizer(tokenizer)
    conversations = [
        [
            {"role": "user", "content": row["instruction"]},
            {"role": "assistant", "content": completion["response"]},
        ]
        for row in held_out_rows
        for completion in row["completions"]
    ]
    return training.answer_log_probs(model, tokenizer, conversations).tolist()

# %%
reference, policy = (log_probs(directories[name]) for name in ("dSFT", "dSFT + dDPO"))
losses, at = [], 0
for row in held_out_rows:
    scores = [pairing.mean_rating(c) or 0.0 for c in row["completions"]]
    part = slice(at, at + len(scores))
    losses.append(row_loss(scores, policy[part], reference[part], recipe["beta"]))
    at += len(scores)
losses = [value for value in losses if value is not None]
mean_loss = sum(losses) / max(len(losses), 1)
print(
    f"mean loss of {len(losses)} held-out rows after dDPO: {mean_loss:.3f}; "
    f"before: {math.log(2):.3f}"
)

# %% [markdown]
# ## What came out
#
# All exam questions, both turns, sampled at a temperature of 0.7, graded from 1 to 10 by the rule. There are two outcomes:
# the *grade*, which rewards manner as well as content, and the share of *right* answers.

# %% tags=["remove-input"]
lessons.predict(
    "From dSFT to dDPO, the mean *grade* ...",
    ["falls by more than 0.3", "hardly moves", "rises by 0.3 or more"],
    key="grade",
)

# %% tags=["hide-output"]
with warnings.catch_warnings(action="ignore", category=EvaluationWarning):
    # of turns that the base leaves empty, which are graded as they are
    evaluated = pipeline.evaluation()
judgments = {
    shown: load_rows(evaluated[name].folder / "judgments.jsonl")
    for shown, name in names.items()
}
scores = {
    shown: mt_bench_score(rows, questions=questions)
    for shown, rows in judgments.items()
}
exam = {shown: evaluated[name].results for shown, name in names.items()}
display(Markdown(markdown_table(
    ["model", "grade", "95 % interval", "right", "ends by itself", "tokens per answer"],
    [
        [
            shown, f"{r['score']:.2f}",
            f"{scores[shown].interval.low:.2f} to {scores[shown].interval.high:.2f}",
            f"{100 * r['right']:.0f} %", f"{100 * r['ended']:.0f} %",
            f"{r['tokens']:.0f}",
        ]
        for shown, r in exam.items()
    ],
    numbers=range(1, 6),
)))

# %% tags=["hide-output"]
gain = mt_bench_difference(judgments["dSFT + dDPO"], judgments["dSFT"])
plain_words = {"dDPO - dSFT": "dDPO without dSFT"}
display(Markdown(markdown_table(
    ("in the paper", "MT-Bench", "AlpacaEval"),
    [
        (
            plain_words.get(row["setting"], row["setting"]), f"{row['mt_bench']:.2f}",
            f"{row['alpaca_eval']:.2f} ± {row['alpaca_eval_error']:.2f}",
        )
        for row in published.published_table("table_3").rows
    ],
    numbers=(1, 2),
)))
print(f"ours: dDPO minus dSFT, in grades {gain}")
right_points = 100 * (exam["dSFT + dDPO"]["right"] - exam["dSFT"]["right"])
more_tokens = exam["dSFT + dDPO"]["tokens"] - exam["dSFT"]["tokens"]

# %% tags=["remove-input"]
lessons.explain(
    f"The difference is {gain.mean:+.2f} grades, interval over questions "
    f"{gain.low:+.2f} to {gain.high:+.2f}"
    + (
        ": not chance in the draw of questions. "
        if gain.low > 0 or gain.high < 0
        else ", which includes zero. "
    )
    + f"The paper's gain is {lessons.published('0.36, from 6.64 to 7.00', 'Table 3')}. "
    "Do not compare the sizes: another judge, other questions, and in a small world a "
    "judge's taste is narrow and soon learned. Compare the *order*, and whether it "
    "could be chance. In the paper it could: its two AlpacaEval figures differ by less "
    "than their errors.\n\nLook beyond the grade: the share of right answers moves by "
    f"{right_points:+.1f} percentage points, the length of the answers by "
    f"{more_tokens:+.1f} tokens. A judge's preferences teach what the judge rewards, "
    "content and manner together. One seed decides nothing; Chapter 08 repeats both "
    "outcomes over several.",
    key="grade",
    answer=0 if gain.mean < -0.3 else 2 if gain.mean >= 0.3 else 1,
)

# %% tags=["hide-input"]
def right_share(rows):
    right_from = pipeline.setting.exam.judge().right_from
    turns_of = {}
    for row in rows:
        turns_of.setdefault(row["question_id"], []).append(row["score"] >= right_from)
    shares = [sum(turns) / len(turns) for turns in turns_of.values()]
    share = bootstrap_interval(shares)
    if share.low == share.high:  # all alike, which a bootstrap takes for certainty
        share = wilson_interval(round(sum(shares)), len(shares))
    return share.estimate, share.low, share.high


means = [score.overall for score in scores.values()]
right = [right_share(rows) for rows in judgments.values()]
figures.show(
    figures.score_bars(
        list(scores),
        means,
        [(score.interval.low, score.interval.high) for score in scores.values()],
        label="mean grade (95 % interval)", right=right,
    ),
    alt="Bars of the mean grade, and of the share of right answers: "
    + "; ".join(
        f"{shown} {grade:.2f}, {100 * share:.0f} % right"
        for shown, grade, (share, *_) in zip(scores, means, right)
    )
    + ".",
    caption=(
        f"Mean grade and share of right answers of {len(questions)} held-out "
        "questions, two turns each, with 95 % intervals over questions; "
        "they do not cover other seeds."
    ),
)

# %% [markdown]
# ```{exercise} What a mean hides
# :label: ex-00-changed
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `changed_grades(before, after)` for two lists of grades of the same questions. Return three counts: in how many
# questions the grade rose, stayed the same, and fell.
# ```

# %% tags=["exercise"]
def changed_grades(before, after):
    ...


exercises.check_changed_grades(changed_grades)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `sum(a > b for b, a in zip(before, after))` is the first of the three.
# ```
#
# ````{solution} ex-00-changed
# :class: dropdown
# ```python
# def changed_grades(before, after):
#     gains = [a - b for b, a in zip(before, after)]
#     return sum(g > 0 for g in gains), sum(g == 0 for g in gains), sum(g < 0 for g in gains)
# ```
# ````

# %% tags=["remove-input"]
lessons.predict(
    "Of all graded answers, in what share is the grade after dDPO the *same* as "
    "before?",
    ["in fewer than one in ten", "in a tenth to a third", "in more than a third"],
    key="same",
)

# %% tags=["hide-output"]
changed_grades = exercises.yours(changed_grades, exercises.check_changed_grades)
by_turn = {
    shown: {(line["question_id"], line["turn"]): line["score"] for line in rows}
    for shown, rows in judgments.items()
}
turns = sorted(by_turn["dSFT"].keys() & by_turn["dSFT + dDPO"].keys())
rose, stayed, fell = changed_grades(
    [by_turn["dSFT"][turn] for turn in turns],
    [by_turn["dSFT + dDPO"][turn] for turn in turns],
)
print(f"of {len(turns):,} answers: {rose} rose, {stayed} stayed, {fell} fell")

# %% tags=["remove-input"]
lessons.explain(
    f"In {stayed / len(turns):.0%}; {rose / len(turns):.0%} rose and "
    f"{fell / len(turns):.0%} fell. A mean difference of {gain.mean:+.2f} is not what "
    "happens to each answer, and part of every rise and fall is the sampling itself.",
    key="same",
    answer=0 if stayed < 0.1 * len(turns) else 1 if stayed <= len(turns) / 3 else 2,
)

# %% [markdown]
# ## What you should see

# %%
if miniature_as_shipped:
    base_score, sft_score, dpo_score = means
    assert sft_score > base_score + 1, (
        f"dSFT {sft_score:.2f} should lie well above the base's {base_score:.2f}: "
        "look at its held-out loss in chapter 02"
    )
    assert gain.mean > 0, (
        f"dDPO minus dSFT is {gain}: expected above 0; "
        "look at the first step and the margins, chapters 05 and 06"
    )
    assert evaluated["dsft"].results["ended"] > 0.95, (
        "dSFT's answers should end by themselves: "
        "does the end token count in the loss (chapter 02)?"
    )
    assert mean_loss < math.log(2), (
        "dDPO should have lowered the loss of held-out rows below ln 2 (chapter 05)"
    )
assert abs(pipeline.ddpo().results["first_step_loss"] - math.log(2)) < 1e-3, (
    "dDPO did not start at the dSFT model (chapter 05)"
)
print("all as expected")

# %% [markdown]
# ## What the paper does not say
#
# We read the paper beside its model card, its code and the data that were really used. They do not always agree:
#
# - The paper's *chosen* answer has the highest **mean** rating; the published set took `overall_score`, a single grade
#   ([pairs](04_preference_pairs)).
# - In UltraFeedback 2,628 answers carried an overall grade of 10; many of them had been given a **1**
#   ([feedback](03_ai_feedback)).
# - The "random" rejected answer of the first published set was **not random** ([pairs](04_preference_pairs)).
# - The optimiser of dDPO: the paper says AdamW, the card Adam, and a maintainer **RMSprop** ([dDPO](05_ddpo)).
# - The accuracies in the model card's log come from **far fewer pairs** than the 1,000 that were evaluated
#   ([margins](06_reward_margins)).
# - Zephyr's TruthfulQA score is not clean: prompts of that test were **in the preference data**
#   ([pairs](04_preference_pairs), [evaluation](07_evaluation)).
# - The truecasing and the list of refusal phrases were **never published**, and the published dialogues still show the
#   fault ([truecasing](01_truecasing)).

# %% [markdown]
# ## One notation for the whole book
#
# | symbol | in words | name in the code |
# |---|---|---|
# | $x$, $y$ | prompt, answer | `prompt`, `messages` |
# | $y_w$, $y_l$ | the chosen, the rejected answer | `chosen`, `rejected` |
# | $s_w$, $s_l$ | the judge's score of each | `score_chosen`, `score_rejected` |
# | $\pi_\theta$ | the student in training: the policy | `policy_chosen`, `policy_rejected` hold its log-probabilities |
# | $\pi_{\text{dSFT}}$, $\pi_{\text{ref}}$ | the frozen dSFT model: the reference | `reference_chosen`, `reference_rejected` |
# | $\beta$ | the price of moving away from the reference | `beta` |
# | $r = \beta \log \frac{\pi_\theta}{\pi_{\text{ref}}}$ | implicit reward | `implicit_reward` |
# | $m = r_w - r_l$ | reward margin | `reward_margin`, `margin` |
# | $\mathcal L_{\text{dDPO}}$ | equation {eq}`eq-00-ddpo` | `dpo_loss` |
# | $\mathcal L_{\text{dSFT}}$ | token-weighted cross-entropy | `token_weighted_nll` |
# | $r$, $\alpha$ (LoRA) | rank and scale of an adapter | `lora_r`, `lora_alpha` |
#
# The letter $r$ is used twice, for rewards and for a rank, as in the papers they come from. The code confirms the names:

# %% tags=["hide-input"]
arguments = list(inspect.signature(objectives.dpo_loss).parameters)
assert arguments == [
    "policy_chosen", "policy_rejected",
    "reference_chosen", "reference_rejected", "beta",
]
for name in (
    "implicit_reward", "reward_margin", "dpo_loss", "token_weighted_nll",
    "sequence_log_probs",
):
    first_line = inspect.getdoc(getattr(objectives, name)).splitlines()[0]
    print(f"objectives.{name}: {first_line}")

# %% [markdown]
# ## Run everything
#
# ```bash
# make run                       # every chapter of the miniature, the website, one table
# zephyr run --chapters 02,05    # some chapters
# zephyr sft; zephyr dpo; zephyr evaluate ddpo; zephyr chat ddpo    # one after the other
# ```
#
# Results are written to `runs/`, each with a `manifest.json` that says from what, with which versions and in how many
# seconds it was made.
#
# ```{admonition} Common mistakes
# :class: warning
# - **Comparing our grades with the paper's.** Judge, questions and model are others. Compare orders, not sizes.
# - **Believing one seed.** The same recipe with another seed gives another number; [ablations](08_ablations) show how far
#   apart.
# - **Starting at the large end.** A fault costs minutes in the miniature and days at 7 billion parameters.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Dialogues, rated answers or finished pairs of your own take the place of the scale's, a JSONL or Parquet file each:
#
# ```bash
# zephyr run --dialogues my_dialogues.jsonl --preferences my_pairs.jsonl
# zephyr run --base-model a_model_directory --dialogues my_dialogues.jsonl
# ```
#
# The schemas are those of the published data sets ([What you can bring](../bring)). A bad row stops the run with its file,
# its line, its field and what was expected; with `--set-aside` it is set aside and counted.
#
# ```{admonition} With text of your own the miniature tests formats, and nothing else
# :class: warning
# Its model knows one small world and short contexts. Many real dialogues are too long for it, and on the rest its loss may
# stay above $\ln V$, that of a blind guess over a vocabulary of $V$ tokens. A finished run shows only that your files can
# be read. To learn something about your data choose the scale `smol`, and distrust any held-out loss above $\ln V$ or from
# fewer than 30 rows.
# ```

# %% [markdown]
# ## Recap
#
# 1. *Three steps*: equations {eq}`eq-00-dsft`, {eq}`eq-00-pairs` and {eq}`eq-00-ddpo`, [the loss of a text](ex-00-loss), the
#    [probability of a preference](ex-00-preference), and [steps 2 and 3 in one function](ex-00-row-loss).
# 2. *Scale*: which fits your machine, and [how many optimiser steps](ex-00-steps) a run takes.
# 3. *Base, dSFT, dDPO* side by side: grade and right answers, with intervals, and [what a mean hides](ex-00-changed).
#
# Next: [Truecasing](01_truecasing), the fault that the authors met first.

# %% [markdown]
# ## References
#
# The paper {cite:p}`tunstall2023zephyr`; DPO {cite:p}`rafailov2023dpo`; UltraChat {cite:p}`ding2023ultrachat`;
# UltraFeedback {cite:p}`cui2023ultrafeedback`; InstructGPT {cite:p}`ouyang2022instructgpt`; MT-Bench
# {cite:p}`zheng2023judging`; Mistral 7B {cite:p}`jiang2023mistral`.

# %% tags=["remove-cell"]
artefacts.write_metrics(
    pipeline.folder / "00_overview",
    {
        "score_ddpo": scores["dSFT + dDPO"].overall,
        "score_dsft": scores["dSFT"].overall,
        "score_base": scores["base"].overall,
        "gain": gain.mean,
        "gain_low": gain.low,
        "first_step_loss": pipeline.ddpo().results["first_step_loss"],
    },
)
