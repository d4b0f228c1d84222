# %% [markdown]
# # Zephyr in ten minutes
#
# In October 2023 a model of seven billion parameters was put beside chat models ten times its size, and held its own.
# No person had rated one of its answers. *Zephyr: Direct Distillation of LM Alignment* {cite:p}`tunstall2023zephyr`
# had taught it in three steps: **dSFT** (distilled supervised fine-tuning: copy a teacher's dialogues), **AI
# feedback** (a stronger model rates answers) and **dDPO** (distilled direct preference optimisation: prefer the better
# rated). The *d* stands for *distilled*: what a person did elsewhere, a model does here. This chapter tells the whole
# story once, quickly, and really walks it: at its end you have put questions to a base model, to the same model after
# dSFT, and after dDPO.

# %% [markdown]
# ## What you will be able to do
#
# 1. Say what Zephyr did, in three steps with one formula each, and compute each formula by hand.
# 2. Name everyone who takes part: student, teacher, the four models, the judge, and who stands in for them here.
# 3. Choose a scale for your machine, and say how many steps a run takes before you start it.
# 4. Hear the difference between base, dSFT and dDPO on questions of your own, and read the table of what came out.
# 5. Read the book's notation, and find each symbol in the code.

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
# Every chapter begins with these eight. `scale` chooses model, data and recipe together; the others replace one of
# them by something of your own. Left empty they keep the scale's. `settings` holds what else a `Pipeline` takes, such as
# `{"limit": 400}` for the first 400 rows.

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
import inspect
import math

import torch
from IPython.display import Markdown, display

from zephyr_utils import (
    chat, exercises, figures, objectives, preferences as pairing, published,
)
from zephyr_utils.pipeline import artefacts
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import load_rows, mt_bench_difference, mt_bench_score
from zephyr_utils.explorers.answers import Answers
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.scales import SCALES, check_machine

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## Why it mattered
#
# A chat model used to need people: to write answers, to compare answers, tens of thousands of times. Zephyr replaced
# them all by stronger models. Its yardsticks were MT-Bench {cite:p}`zheng2023judging`, where GPT-4 grades answers from
# 1 to 10, and AlpacaEval, the share of answers that GPT-4 prefers to those of an older model.
#
# ```{admonition} Predict, then run
# :class: predict
# The paper's Table 1 has five larger open models with an MT-Bench score: of 33, 40, 65, 70 and 70 billion parameters.
# How many of them does Zephyr-7B leave behind?
# ```

# %%
table = [row for row in published.published_table("table_1").rows if row["mt_bench"]]
for row in sorted(table, key=lambda row: row["mt_bench"]):
    print(
        f"{row['mt_bench']:5.2f}  {row['model']:<24} {row['size'] or 'not told':>8}  "
        f"{row['alignment'] or ''}"
    )
zephyr = next(row for row in table if row["model"] == "Zephyr-7B-β")
larger = [row for row in table if row["size"] and int(row["size"].rstrip("B")) > 7]
behind = [row["model"] for row in larger if row["mt_bench"] < zephyr["mt_bench"]]
print(f"{len(behind)} of {len(larger)} larger ones lie behind: {', '.join(behind)}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Four of five, Llama2-Chat-70B among them, which had been aligned with people's ratings. If you guessed fewer, you
# trusted size; on *chat*, size was not what was missing. On mathematics and code it was, and the paper says so. And
# mind the judge: GPT-4 graded models that had learnt from GPT-4. [Chapter 07](07_evaluation) looks into that.
#
# The last column says how each model was aligned: SFT copies good answers; RLHF and PPO train against a reward model
# fitted to preferences, DPO on the preferences themselves; a *d* in front where models did what people do elsewhere.
# (Zephyr-7B-α, the first version, is in the model card and not in the paper's table.)
# ```

# %% [markdown]
# ## The cast
#
# | who | in the paper | in the miniature |
# |---|---|---|
# | the **student** $\pi_\theta$ | Mistral-7B {cite:p}`jiang2023mistral` | a Mistral-shaped model of 1.3 million parameters, really trained |
# | the **teacher** of dialogues $\pi_T$ | GPT-3.5-turbo, through UltraChat {cite:p}`ding2023ultrachat` | a program that answers well, plainly, curtly or wrongly in a stated mix |
# | the **four models** $\pi_1 \dots \pi_4$ that answer each prompt | drawn from 17, through UltraFeedback {cite:p}`cui2023ultrafeedback` | four programs of graded skill |
# | the **judge** that rates them | GPT-4 | a rule with noise added, so that it errs as judges do |
# | the **examiner** at the end | GPT-4 | the same rule without the noise |
#
# The student is real at every scale: its weights move by gradient descent. The others are stand-ins in the miniature,
# so that everything runs without an account, and are called so wherever their words count.

# %% [markdown]
# ## Step 1, dSFT: find the teacher's words likely
#
# *Distilled supervised fine-tuning.* Let $\mathcal C$ be a set of dialogues, $x$ what was asked and $y$ what the
# teacher answered. Make the log-likelihood of its answers large:
#
# $$\pi_{\text{dSFT}} = \arg\max_\pi \; \mathbb E_{(x, y) \sim \mathcal C} \log \pi(y \mid x).$$
#
# A text is as likely as the product of its tokens, so its loss is a sum. Say an answer has four tokens, `Par`, `is`,
# `.` and the mark of the end, and the model gives them these chances. (Logarithms are natural; the unit is the *nat*.)

# %%
chances = torch.tensor([0.6, 0.9, 0.8, 0.5])
text_loss = -chances.log().sum()
print(
    f"probability {chances.prod():.4f}, "
    f"loss {text_loss:.4f} nats = -log of it: {-chances.prod().log():.4f}"
)
assert torch.isclose(text_loss, -chances.prod().log())

# %% [markdown]
# ```{exercise} The loss of a text
# :label: ex-00-loss
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `text_loss_of(probabilities)`: minus the log-probability of a whole text, in nats, from the probability of
# each of its tokens.
# ```

# %% tags=["exercise"]
def text_loss_of(probabilities):
    ...


exercises.check_text_loss(text_loss_of)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Products become sums under a logarithm.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `math.log` is the natural logarithm. Mind the sign.
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
# ## Step 2, AI feedback: ratings become pairs
#
# Each prompt $x$ goes to four models. The judge gives each answer $y_i$ a score $s_i$, the mean of its ratings from 1
# to 5 in four respects. Of each four answers two are kept: the best, $y_w$, the one that *wins*, and a *random* lower
# one, $y_l$, that *loses*:
#
# $$\mathcal D = \{(x, y_w, y_l)\}, \qquad y_w = \arg\max_i s_i, \quad y_l \sim \{y_i : s_i < s_w\}.$$
#
# Why not the worst? Because the best against the worst is too easy a question. Here is the first row of the feedback,
# each answer with its score, and the pair that was made of it:

# %%
rated = pipeline.load("feedback", "feedback").records
row = rated[0]
print("prompt:", row["instruction"])
for completion in row["completions"]:
    print(
        f"  mean {pairing.mean_rating(completion):.2f}  "
        f"{completion['model']:<12} {completion['response']!r}"
    )
[pair] = pairing.binarize([row]).pairs
print(
    "chosen:  ", repr(pair["chosen"][-1]["content"]),
    "\nrejected:", repr(pair["rejected"][-1]["content"]),
)
assert pair["score_chosen"] > pair["score_rejected"]

# %% [markdown]
# Where two models gave the same words and got different means, you have met the judge's noise: ratings are measurements,
# and [AI feedback](03_ai_feedback) treats them so.

# %% [markdown]
# ## Step 3, dDPO: prefer the chosen
#
# *Distilled direct preference optimisation*, equation 1 of the paper, DPO {cite:p}`rafailov2023dpo` on a teacher's
# preferences:
#
# $$\mathcal L = -\,\mathbb E_{(x, y_w, y_l) \sim \mathcal D} \log \sigma\!\left(
#   \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{dSFT}}(y_w \mid x)} - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{dSFT}}(y_l \mid x)}\right).$$
#
# Read it from the inside. How much likelier has the student made the chosen answer since dSFT? How much likelier the
# rejected one? Their difference, times a small number $\beta$ (0.1 in the paper), is the *margin* $m$. The sigmoid of
# it, $\sigma(m) = 1 / (1 + e^{-m})$, is the chance that this student ranks the pair as the judge did. Four numbers in,
# one out:

# %%
def preference_loss(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    margin = beta * (
        (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)
    )
    return -torch.log(torch.sigmoid(margin)).mean()

# %% [markdown]
# The package's version is [`objectives.dpo_loss`](05_ddpo); both agree:

# %%
# log-probabilities of whole answers
logs = [torch.tensor([value]) for value in (-12.0, -19.0, -15.0, -16.0)]
ours, packaged = preference_loss(*logs, beta=0.1), objectives.dpo_loss(*logs, beta=0.1)
print(
    f"margin {0.1 * ((-12 + 15) - (-19 + 16)):.2f}, "
    f"loss {ours:.6f}, package {packaged:.6f}"
)
assert torch.isclose(ours, packaged)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# dDPO starts at the dSFT model: $\pi_\theta = \pi_{\text{dSFT}}$. What is the loss before the first step, whatever
# the pairs?
# ```

# %%
same = [logs[0], logs[1], logs[0], logs[1]]
print(
    f"loss {preference_loss(*same, beta=0.1):.6f}, "
    f"with beta = 5 {preference_loss(*same, beta=5.0):.6f}, ln 2 = {math.log(2):.6f}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# ln 2, the loss of a coin: both ratios are 1, the margin is 0, $\sigma(0) = \tfrac12$. Neither the pairs nor $\beta$
# matter. If you said 0, you took the dSFT model for one that has preferences already; if you said "it depends", you
# forgot that only *changes* since dSFT count. A first loss other than ln 2 means that a run starts at the wrong
# model, and [Chapter 05](05_ddpo) shows that even ln 2 is not proof enough.
# ```

# %% [markdown]
# ```{exercise} The chance of a preference
# :label: ex-00-preference
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Behind the loss stands the model of Bradley and Terry: the better the reward of one answer over the other, the
# likelier it is preferred. Write `preferred(reward_chosen, reward_rejected)`, the sigmoid of the difference.
# ```

# %% tags=["exercise"]
def preferred(reward_chosen, reward_rejected):
    ...


exercises.check_preference_probability(preferred)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# $\sigma(m) = 1 / (1 + e^{-m})$.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Equal rewards must give one half.
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
# That is all of Zephyr. No reward model, no sampling while it trains, no person. The rest of the book is what it
# takes to do these three steps *right*.

# %% [markdown]
# ## The dial
#
# The same notebooks run at four scales. A scale is three addresses (base model, dialogues, feedback), a number of rows
# and two recipes (dSFT, dDPO); everything else follows.

# %%
lines = [
    "| `scale` | base model | rows read | runs on | memory |",
    "|---|---|---|---|---|",
]
for one in SCALES.values():
    address = getattr(one.base_model, "path", "in the package")
    rows = f"{one.limit:,}" if one.limit else "all"
    lines.append(
        f"| `{one.name}` | {address} | {rows} | {one.runs_on} | {one.memory_gb} GB |"
    )
display(Markdown("\n".join(lines)))

# %% [markdown]
# What can *this* machine run? Each scale is asked; one that needs a GPU says so in a sentence.

# %%
for one in SCALES.values():
    try:
        print(
            f"{one.name:>15}: yes, with {one.memory_gb} GB free ({check_machine(one)})"
        )
    except HandbookError as refusal:
        print(
            f"{one.name:>15}: no:",
            str(refusal).splitlines()[0].removeprefix("--scale: ").partition(" (")[0],
        )

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The authors trained dDPO on 61,966 pairs for three epochs with two pairs on each of 16 GPUs. The miniature makes at
# most one pair of each of its 4,000 rows of feedback and goes through them once, 16 at a time. How many steps does
# each take?
# ```

# %%
recipe = pipeline.recipe("ddpo")
batch = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
print(f"Zephyr-7B-beta: {math.ceil(61_966 / (2 * 16)) * 3:,} steps")
print(
    f"{pipeline.scale}: "
    f"at most {math.ceil(len(rated) / batch) * recipe['num_train_epochs']:,} steps"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The authors' log ends at step 5,800, and their run took 6.6 hours on 16 GPUs; the miniature takes some two hundred,
# in minutes. (*At most*, for some rows give no pair and some pairs are held out.) If you multiplied by 16 instead of
# dividing, you counted rows and not steps: each step takes one batch on *every* device.
# ```

# %% [markdown]
# ```{exercise} How many steps?
# :label: ex-00-steps
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `steps(rows, epochs, per_device_batch, accumulation, devices)`: the optimiser's steps of a whole run. The last
# batch of an epoch may be small; it is a step all the same.
# ```

# %% tags=["exercise"]
def steps(rows, epochs, per_device_batch, accumulation, devices):
    ...


exercises.check_steps(steps)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# First the global batch: what one step takes on all devices, accumulated batches included.
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

# %% [markdown]
# ## The little world
#
# The miniature is a closed world of a few hundred words: twenty names, sixteen countries, sums up to thirty, notes,
# riddles. So small that a model of a million parameters can know all of it, and so closed that a rule can tell right
# from wrong. What it writes has UltraChat's and UltraFeedback's schemas *and their faults*. Two dialogues, as they come:

# %%
for dialogue in pipeline.load("dialogues", "dialogue").records[1:3]:
    for message in dialogue["messages"]:
        print(f"{message['role']:>10}: {message['content']}")
    print()

# %% [markdown]
# If you saw an answer that begins well and goes on in small letters, you have found the fault of [Chapter
# 01](01_truecasing): about 5 % of UltraChat had lost its capitals. The questions of the examination come in MT-Bench's
# eight categories and two turns. One combination in ten (of names, numbers, places) is kept out of every training text,
# and only those are asked. The first question of each category, its two turns side by side:

# %%
questions = pipeline.questions()
for question in questions[::20]:
    print(
        f"{question['category']:>11}: {question['turns'][0]}  |  {question['turns'][1]}"
    )

# %% [markdown]
# ## See it happen
#
# Begin with the base model, which has read a great deal of this world but never a chat.
#
# ```{admonition} Predict, then run
# :class: predict
# It is asked a question in the chat format. Will it answer, will it answer wrongly, or will it do something else?
# ```

# %%
base, tokenizer = chat.load_model(pipeline.model_directory("base"))
chat.prepare_tokenizer(tokenizer)
first = next(
    question["turns"][0]
    for question in questions
    if question["category"] == "humanities"
)
[answer] = chat.generate(
    base, tokenizer, [[{"role": "user", "content": first}]], temperature=0.0,
    max_new_tokens=60,
)
print(
    "asked:", first, "\n", answer.text, "\n",
    f"ended by itself: {answer.ended}, after {answer.n_tokens} tokens",
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Something else: it *goes on writing*, as its documents do. There may be something like an answer in it, right, half
# right or wrong; then comes a further question that nobody asked, and an answer to that. It stops where a document
# would, not where an answer does: nothing has told it that these marks mean "you are asked, answer, stop". If you
# expected a plain wrong answer, you credited it with knowing that it was asked at all. (Models of billions of
# parameters often do answer at this point: they have met chats on the web.)
# ```

# %% [markdown]
# Now the other two. **The next cell trains what is not there yet**: truecasing, dSFT, pairs, dDPO, each once, some
# minutes on two cores in all. What is there already is reused, here and in every later chapter. A killed run goes on
# where it stopped.

# %%
names = {"base": "base", "dSFT": "dsft", "dSFT + dDPO": "ddpo"}
directories = {shown: pipeline.model_directory(name) for shown, name in names.items()}
for step in (pipeline.truecased(), pipeline.dsft(), pipeline.pairs(), pipeline.ddpo()):
    seen = (
        f"{step.rows['rows_in']:,} rows in = {step.rows['rows_out']:,} out + "
        f"{step.rows['rows_set_aside']:,} set aside"
    )
    print(
        f"{step.folder.name:<20} {'reused' if step.reused else 'made'}, "
        f"{step.seconds:3.0f} s when it was made: {seen}"
    )

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Pick a question below, and another. Which of the three will answer at all? Which will be friendly? The teacher of the dialogues
# opened and closed in a friendly way in about one answer of three; the judge of the pairs gives more to answers that
# do.
# ```

# %%
def grade(question, text):
    return grade_turn([question], [text], 1)


asked = [question["turns"][0] for question in questions[3::20]]
explorer = Answers(directories, asked, grade, max_new_tokens=60)
explorer

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# dSFT answers and stops, in the style its teacher used most: plain, and sometimes wrong, for it copied the teacher's
# errors too. dDPO has shifted the style towards what the judge preferred: an opening, a full sentence, an offer. Not
# for every question: to some the two give the same answer, word for word. Whether dDPO is also *right* more often is
# not for a handful of examples to say: the table below counts. If you expected it to have learnt new facts: it saw no
# fact that the base had not read. It learnt which of the answers that it can give to prefer.
# ```
#
# On this page the box above picks among questions asked beforehand. In a running notebook it takes your own. Ask in
# the words of this world, for instance `What are the capitals of Italy and Kenya?`

# %% [markdown]
# ## What came out
#
# All held-out questions, both turns, sampled at a temperature of 0.7, graded from 1 to 10 by the rule. The bars'
# whiskers are 95 % intervals over questions; they say nothing of other seeds, for which see the
# [ablations](08_ablations).

# %%
evaluated = pipeline.evaluation()
judgments = {
    shown: load_rows(evaluated[name].folder / "judgments.jsonl")
    for shown, name in names.items()
}
scores = {
    shown: mt_bench_score(rows, questions=questions)
    for shown, rows in judgments.items()
}
for shown, name in names.items():
    results = evaluated[name].results
    print(
        f"{shown:>12}: grade {results['score']:.2f}, right {results['right']:4.0%}, "
        f"ends by itself {results['ended']:4.0%}, "
        f"{results['tokens']:.0f} tokens an answer"
    )

# %%
means = [score.overall for score in scores.values()]
figures.show(
    figures.score_bars(
        list(scores),
        means,
        [(score.interval.low, score.interval.high) for score in scores.values()],
    ),
    alt="Bars of the mean grade: "
    + ", ".join(f"{shown} {score.overall:.2f}" for shown, score in scores.items())
    + ".",
    caption=(
        f"Mean grade of {len(questions)} held-out questions, two turns each, "
        "with 95 % bootstrap intervals over questions."
    ),
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The paper's Table 3, one epoch of each: dSFT 6.64, dSFT and dDPO 7.00 on MT-Bench. Is our step from dSFT to dDPO
# smaller or larger than that, in grades, and can it be chance?
# ```

# %%
gain = mt_bench_difference(judgments["dSFT + dDPO"], judgments["dSFT"])
for row in published.published_table("table_3").rows:
    print(
        f"paper: {row['setting']:<12} MT-Bench {row['mt_bench']:.2f}, "
        f"AlpacaEval {row['alpaca_eval']:.2f} ± {row['alpaca_eval_error']:.2f}"
    )
print(f"ours:  dDPO minus dSFT {gain}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The paper's step is 0.36 grades; ours is larger. Do not compare the sizes: another judge, other questions, and in a
# little world a judge's taste is narrow and soon learnt. What can be compared is the *order*, and whether it could be
# chance. For ours the interval answers that: it holds 0 or it does not. For the paper "it might be chance" is a good
# thought: its two AlpacaEval figures lie less than their errors apart.
#
# And a grade is a sum of things. Look at the share of *right* answers in the table further up: it hardly moves from
# dSFT to dDPO, while the answers grow longer. What has become better is how they are said. That is what this judge's
# preferences could teach; over five seeds the share even falls a little,
# by some three points of a hundred ([Chapter 08](08_ablations)).
# ```

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
    longer = evaluated["base"].results["tokens"] / evaluated["dsft"].results["tokens"]
    assert longer > 1.5, (
        f"the base's answers are only {longer:.1f} times as long as dSFT's: "
        "is a fine-tuned model in its place?"
    )
assert abs(pipeline.ddpo().results["first_step_loss"] - math.log(2)) < 1e-3, (
    "dDPO did not start at the dSFT model (chapter 05)"
)
print("all as expected")

# %% [markdown]
# ## What is not told elsewhere
#
# We read the paper beside its model card, its code and the data that were really used. They do not always agree, and
# each of these has a place in the book:
#
# - The paper's *chosen* answer has the highest **mean** rating; the published set took `overall_score`, a single
#   grade ([pairs](04_preference_pairs)).
# - In UltraFeedback 2,628 answers carried an overall grade of 10; many of them had been given a **1**
#   ([feedback](03_ai_feedback)).
# - The "random" rejected answer of the first published set was **not random**: the generator was re-seeded in every
#   row ([pairs](04_preference_pairs)).
# - The optimiser of dDPO was **RMSprop**, says a maintainer; paper and card say AdamW ([dDPO](05_ddpo)).
# - Every accuracy in the model card's log is a multiple of 1/64: the famous curve shows **64 pairs**, with a standard
#   error of some five points ([margins](06_reward_margins)).
# - Zephyr's TruthfulQA score is not clean: prompts of that test were **in the preference data**
#   ([pairs](04_preference_pairs), [evaluation](07_evaluation)).
# - The truecasing and the list of refusal phrases were **never published**. Ours are our own, and measured
#   ([truecasing](01_truecasing)).

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
# | $\mathcal L_{\text{dDPO}}$ | equation 1 | `dpo_loss` |
# | $\mathcal L_{\text{dSFT}}$ | token-weighted cross-entropy | `token_weighted_nll` |
# | $r$, $\alpha$ (LoRA) | rank and scale of an adapter | `lora_r`, `lora_alpha` |
#
# The letter $r$ is used twice, for rewards and for a rank, as in the papers they come from. The names are no promise;
# the next cell asks the code:

# %%
arguments = list(inspect.signature(objectives.dpo_loss).parameters)
assert arguments == [
    "policy_chosen", "policy_rejected",
    "reference_chosen", "reference_rejected", "beta",
]
for name in (
    "implicit_reward", "reward_margin", "dpo_loss", "token_weighted_nll",
    "sequence_log_probs",
):
    print(
        f"objectives.{name}: "
        f"{inspect.getdoc(getattr(objectives, name)).splitlines()[0]}"
    )
assert {"prompt", "chosen", "rejected", "score_chosen", "score_rejected"} <= set(pair)

# %% [markdown]
# ## Run everything
#
# ```bash
# make run                              # every chapter at the miniature scale, then the website and one table
# zephyr run --chapters 02,05           # some chapters
# zephyr sft; zephyr dpo; zephyr evaluate ddpo; zephyr chat ddpo    # step by step
# ```
#
# What a step makes lies under `runs/`, with a `manifest.json` that says from what, with which versions and in how
# many seconds. Rows in are rows out plus rows set aside, at every step; a manifest whose row counts do not add up
# is refused.
#
# ```{admonition} Where readers fall
# :class: warning
# - **Comparing our grades with the paper's.** Another judge, other questions, a model five thousand times smaller.
#   Compare orders, not sizes.
# - **Believing one seed.** The same recipe with another seed gives another number. [Ablations](08_ablations) shows
#   how far apart.
# - **Starting at the large end.** A fault costs minutes in the miniature and days at 7 billion. Run your own data
#   through the miniature's chapters first.
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
# The schemas are those of the Hub's own sets. A bad row stops the run with its file, its line, its field and what was
# expected; with `--set-aside` it is put aside and counted.

# %% [markdown]
# ## Recap
#
# - You know Zephyr's three steps and computed each formula ([the first exercise](ex-00-loss) and
#   [the second](ex-00-preference)).
# - You have met the cast, and know which of them are stand-ins here.
# - You chose a scale and counted the steps of a run ([the third exercise](ex-00-steps)).
# - You heard base, dSFT and dDPO side by side, and read their table with its intervals.
# - You have the notation, and the code has confirmed it.
#
# Next: [Truecasing](01_truecasing), the fault that the authors met first.
#
# ## References
#
# The paper {cite:p}`tunstall2023zephyr`; DPO {cite:p}`rafailov2023dpo`; UltraChat {cite:p}`ding2023ultrachat`;
# UltraFeedback {cite:p}`cui2023ultrafeedback`; MT-Bench {cite:p}`zheng2023judging`; Mistral 7B
# {cite:p}`jiang2023mistral`.

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
