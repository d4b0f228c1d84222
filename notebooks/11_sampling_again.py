# %% [markdown]
# # Sampling again
#
# Zephyr's paper stops after one round of preferences, on answers that other models wrote. The field's next step was
# plain: let the aligned model answer, have its answers judged, train on them, and repeat. From Zephyr's own dSFT
# model and prompts, one offline round and three of sampling, with nothing but DPO, reach 22.2 % in AlpacaEval 2's
# length-controlled win rate {cite:p}`zhang2024selm`; Zephyr-7B-beta stands at 13.2 % (card of its ExPO model). This
# chapter builds that loop, tries two refinements, SPPO {cite:p}`wu2024sppo` and SELM, and follows the judge's errors
# from round to round. At the end the model rates itself.

# %% [markdown]
# ## What you will be able to do
#
# 1. Tell on-policy from off-policy pairs, and measure how far a data set lies from what a model says.
# 2. Write the loop: sample, judge, pair, train against the last round's model, merge, repeat.
# 3. Compare rounds of DPO, SPPO and SELM with an offline control of as many steps, by grade, right answers and KL
#    divergence.
# 4. Separate what a judge's noise adds to the rating of a chosen answer from how good the answer is.
# 5. Say what self-play does under a judge with cyclic preferences.
# 6. Let a model rate its own answers, and follow its opinion of itself beside the true grade.

# %% [markdown]
# ## Set-up
#
# The folded cells load the package, set the parameters (`preferences` takes your own pairs) and import what follows.

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
import itertools
import json
import math
from pathlib import Path

import numpy as np
import peft
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display
from transformers import get_scheduler

# %% tags=["hide-input"]
import zephyr_utils
from zephyr_utils import (
    chat, data, evaluation, exercises, figures, lessons, objectives, online, training,
)
from zephyr_utils.ablations.methods import sampling_again as study_rounds
from zephyr_utils.lessons import chapter_seeds, replications
from zephyr_utils.online.pairs import SamplingSettings, read_samples
from zephyr_utils.online.ratings import ASK
from zephyr_utils.online.round_training import OnlineObjective, round_pairs, train_round
from zephyr_utils.online.rounds import (
    OnlineSettings, round_recipe, run_rounds, split_prompts,
)
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

# %% [markdown]
# The sizes: rounds, prompts per round, answers per prompt, and held-out questions on which KL and length are
# measured. Larger ones make the differences clearer; these fit into a few minutes.

# %%
ROUNDS, PROMPTS, SAMPLES, ASKED = 3, 160, 5, 128

# %%
pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"
folder = pipeline.folder / "11_sampling_again"
judge, rate = pipeline.setting.exam.judge(), pipeline.setting.feedback_judge(seed)
sft_model, sft_key = pipeline.start()
dsft, tokenizer = chat.load_model(sft_model, "float32")

# %% [markdown]
# ## Whose answers are they?
#
# dDPO can only raise and lower answers that are in its pairs, and those of [chapter 04](04_preference_pairs) were
# written by four other models. Pairs are **on-policy** if the model in training gave the answers itself, otherwise
# **off-policy**. To see how far off ours are, ask how likely a model finds an answer, per token. Everything below
# needs this one function; a row is the prompt's token ids and the answer's.

# %%
def log_probs(model, rows):
    """log pi(answer | prompt) of each row, in nats, with gradients."""
    width = max(len(asked) + len(said) for asked, said in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full_like(ids, objectives.IGNORE_INDEX)
    for n, (asked, said) in enumerate(rows):
        end = len(asked) + len(said)
        ids[n, :end] = torch.tensor(asked + said)
        labels[n, len(asked) : end] = torch.tensor(said)
    return objectives.sequence_log_probs(model(input_ids=ids).logits, labels)

# %%
def message(role, content):
    return {"role": role, "content": content}

def encoded(prompt, answer):
    asked = [message("user", prompt)]
    begin = chat.encode_prompt(tokenizer, asked)
    whole, _ = chat.encode(tokenizer, [*asked, message("assistant", answer)])
    return begin, whole[len(begin) :]

# %% [markdown]
# Samples come from the model's own distribution, as in [chapter 10](10_reward_models), unless a temperature is given.

# %%
def sample(model, prompts, samples, seed, temperature=1.0):
    return online.sample_answers(
        model, prompts, samples, tokenizer=tokenizer, seed=seed,
        temperature=temperature,
        max_new_tokens=pipeline.setting.exam.max_new_tokens,
    )

# %% [markdown]
# How far does a data set lie from what a model says? Compare its answers with the model's own to the same prompts, in
# nats per token. Two draws of one model are equally likely on average. Answers that are less likely come from somebody
# else; those that are *likelier* are not draws of the model either: greedy decoding gives such answers.

# %% [markdown]
# ````{exercise} Whose answers?
# :label: ex-11-whose
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `whose_answers(log_probs, tokens, own_log_probs, own_tokens)`, four arrays with one entry per prompt: the
# log-probability of the data set's answer under the model, in nats, its number of tokens, and the same two of the
# model's own answer.
# Return two things. First the gap: the mean over prompts of the own answer's nats per token minus those of the data
# set's. Then a word: `"off-policy"` if the gap's 95 % interval (1.96 standard errors to either side, paired by prompt)
# leaves out zero, else `"cannot tell"`.
# ````

# %% tags=["exercise"]
def whose_answers(log_probs, tokens, own_log_probs, own_tokens):
    ...  # return gap, word


exercises.check_whose_answers(whose_answers)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# First nats per token, one number per answer, then the differences prompt by prompt: an easy prompt makes both answers
# likelier. A gap may be off on either side.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `log_probs / tokens` are the nats per token. `np.std(differences, ddof=1) / np.sqrt(len(differences))` is the error of the
# mean difference; compare 1.96 times that with `abs(differences.mean())`.
# ```

# %% [markdown]
# `````{solution} ex-11-whose
# :class: dropdown
# ```python
# def whose_answers(log_probs, tokens, own_log_probs, own_tokens):
#     gaps = own_log_probs / own_tokens - log_probs / tokens
#     error = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
#     far = abs(gaps.mean()) > 1.96 * error
#     return gaps.mean(), "off-policy" if far else "cannot tell"
# ```
# "On-policy" is never proved: that no difference was seen may only mean that too few answers were compared.
# `````

# %% [markdown]
# Held-out pairs, and what dSFT and dDPO answer to their prompts themselves; of dSFT also a second draw and its greedy
# answers, to try your function on:

# %%
ddpo, _ = chat.load_model(pipeline.model_directory("ddpo"), "float32")
pairs = pipeline.split_pairs()[1][:96]
prompts = [pair["prompt"] for pair in pairs]
texts = {
    side: [pair[side][-1]["content"] for pair in pairs]
    for side in ("chosen", "rejected")
}
for name, model in (("own, dSFT", dsft), ("own, dDPO", ddpo)):
    texts[name] = [group[0].text for group in sample(model, prompts, 1, seed)]
for name, temperature in (("dSFT, again", 1.0), ("dSFT, greedy", 0.0)):
    said = sample(dsft, prompts, 1, seed + 1, temperature)
    texts[name] = [group[0].text for group in said]

# %% tags=["remove-input"]
lessons.predict(
    "dDPO was trained to prefer the chosen answers. Which answers does it find "
    "likeliest, per token?",
    [
        "the chosen ones",
        "those dSFT gave",
        "its own",
        "no one kind, as far as these answers show",
    ],
    key="whose",
)

# %% tags=["hide-output"]
whose = exercises.yours(whose_answers, exercises.check_whose_answers)
per_token, under_dsft, ddpo_nats = {}, {}, {}
for name, said in texts.items():
    rows = [encoded(*row) for row in zip(prompts, said, strict=True)]
    tokens = np.array([len(answer) for _, answer in rows])
    with torch.no_grad():
        both = [log_probs(model, rows).numpy() for model in (dsft, ddpo)]
    under_dsft[name], ddpo_nats[name] = (both[0], tokens), both[1] / tokens
    per_token[name] = [(each / tokens).mean() for each in both]

print("nats per token under each model, mean over answers")
for name, (at_dsft, at_ddpo) in per_token.items():
    print(f"{name:12s}  dSFT {at_dsft:6.2f}   dDPO {at_ddpo:6.2f}")

# %% tags=["hide-output"]
under_ddpo = {name: both[1] for name, both in per_token.items()}
ranked = sorted(("chosen", "own, dSFT", "own, dDPO"), key=under_ddpo.get)[::-1]
lead = evaluation.paired_difference(*(ddpo_nats[name] for name in ranked[:2]))
print(f"under dDPO, `{ranked[0]}` minus `{ranked[1]}`: {lead}")

# %% tags=["remove-input"]
lessons.explain(
    f"Under dDPO its own answers have {under_ddpo['own, dDPO']:.2f} nats per token, "
    f"the chosen ones {under_ddpo['chosen']:.2f} and the rejected ones "
    f"{under_ddpo['rejected']:.2f}, from {per_token['rejected'][0]:.2f} under dSFT, "
    f"whose own had {per_token['own, dSFT'][0]:.2f}. To prefer an answer is not to say "
    "it: the loss asks for a distance between two answers alone. The less the model "
    "gives the rejected answers, the less it changes to push them further down. Its "
    "own weak answers, which it does give, are in no off-policy pair; on-policy pairs "
    "hold just those.",
    key="whose",
    answer=(
        {"chosen": 0, "own, dSFT": 1, "own, dDPO": 2}[ranked[0]] if lead.low > 0 else 3
    ),
)

# %% [markdown]
# And under dSFT, from which dDPO's training and the rounds below begin: which of these answers are off-policy?

# %%
for name in texts:
    if name != "own, dSFT":
        gap, word = whose(*under_dsft[name], *under_dsft["own, dSFT"])
        print(f"{name:12s}  gap {gap:+.2f} nats per token: {word}")

# %% [markdown]
# The second draw is the control: chance alone calls one such draw in twenty off-policy. The measure sees one mean
# alone, in which another model's answers can agree with the model's own, so "cannot tell" does not say on-policy. An
# off-policy data set can still be good to learn from, but it holds too little of what the model says itself.
#
# ## One round, written out
#
# A round takes a model and prompts that no earlier round has trained on, and leaves a model. So prompts are split
# first, and questions of the exam set aside.

# %%
plan = OnlineSettings(
    rounds=ROUNDS,
    prompts=PROMPTS,
    sampling=SamplingSettings(
        SAMPLES, max_new_tokens=pipeline.setting.exam.max_new_tokens, seed=seed
    ),
)
questions = [question["turns"][0] for question in pipeline.questions()]
rated = pipeline.load("feedback", "feedback").records
shares = split_prompts(
    [row["instruction"] for row in rated], ROUNDS, seed, questions, PROMPTS
)
for number, share in enumerate(shares.rounds, start=1):
    print(f"round {number}: {len(share)} prompts")
for reason, count in shares.set_aside.items():
    print(f"set aside, {reason.replace('_', ' ')}: {count:,}")

# %% [markdown]
# **Sample.** Five answers to each prompt at temperature 1; a lower temperature would make them alike.

# %%
first = shares.rounds[0]
answers = sample(dsft, first, SAMPLES, plan.round_sampling(1).seed)
print(online.count_samples(answers).report())

# %% [markdown]
# **Judge.** The miniature's noisy judge rates four aspects from 1 to 5, as in [chapter 03](03_ai_feedback); their
# mean is the score. An answer that is empty, cut off or cannot be rated has none.

# %%
def score(record):
    ratings = [float(aspect["Rating"]) for aspect in record["annotations"].values()]
    return np.mean(ratings) if ratings else np.nan

# %% [markdown]
# The judge reads the prompt and the answers of records in UltraFeedback's schema.

# %%
def scores_of(prompts, answers, rate):
    records = [
        {
            "instruction": prompt,
            "completions": [{"response": one.text} for one in group],
        }
        for prompt, group in zip(prompts, answers, strict=True)
    ]
    return np.array([
        [
            score(record) if one.ended and one.text else np.nan
            for one, record in zip(group, judged["completions"], strict=True)
        ]
        for group, judged in zip(answers, rate(records), strict=True)
    ])

scores = scores_of(first, answers, rate)

# %%
def grade(prompt, answer):
    question = {"question_id": prompt, "category": "", "turns": [prompt]}
    return judge.grade(question, [answer], 1).score

# %% [markdown]
# The prompt whose answers are rated furthest apart, each with its rating and its **true grade**, which the teacher's
# rule gives without noise:

# %%
shown = int(np.nan_to_num(scores.max(axis=1) - scores.min(axis=1)).argmax())
print(first[shown])
for one, rating in zip(answers[shown], scores[shown], strict=True):
    true = grade(first[shown], one.text)
    print(f"  rated {rating:.2f}, true grade {true:4.1f}  {one.text!r}")

# %% [markdown]
# **Pair.** The best answer against the worst.

# %% [markdown]
# ````{exercise} The pair of a round
# :label: ex-11-pair
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `round_pair(scores)`, the scores of the answers to one prompt. Return the pair (place of the best, place of
# the worst), the first of equals; `None` where no two scores differ. A score that is NaN takes no part.
# ````

# %% tags=["exercise"]
def round_pair(scores):
    ...


exercises.check_round_pair(round_pair)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# `np.nanmax(scores) == np.nanmin(scores)` says whether any two differ; `np.nanargmax` is a place.
# ```

# %% [markdown]
# `````{solution} ex-11-pair
# :class: dropdown
# ```python
# def round_pair(scores):
#     if np.nanmax(scores) == np.nanmin(scores):
#         return None
#     return int(np.nanargmax(scores)), int(np.nanargmin(scores))
# ```
# `````

# %%
round_pair = exercises.yours(round_pair, exercises.check_round_pair)
by_hand = {}
for prompt, group, row in zip(first, answers, scores, strict=True):
    places = None if np.isnan(row).all() else round_pair(row)
    if places is not None:
        best, worst = places
        by_hand[prompt] = {
            "prompt": prompt, "chosen": group[best].text, "rejected": group[worst].text,
            "scores": (row[best], row[worst]),
        }
print(f"{len(by_hand)} pairs of {len(first)} prompts; the others are all rated alike")

# %% [markdown]
# **Train.** DPO with the model that gave the answers as reference. Measured from dSFT, implicit rewards would still
# hold the last round's margins, and the loss would treat new pairs as settled. The recipe is dDPO's except for
# learning rate and batch, since a round has few pairs.

# %%
recipe = round_recipe(pipeline)
changed = {
    name: value
    for name, value in recipe.items() if value != pipeline.recipe("ddpo").get(name)
}
for name, value in changed.items():
    print(f"{name} {value} in place of {pipeline.recipe('ddpo').get(name)}")

# %%
def batches(count):
    order = np.random.default_rng(recipe["seed"]).permutation(count).tolist()
    size = recipe.rows_per_step
    return [order[at : at + size] for at in range(0, count, size)]

# %% [markdown]
# The model stays frozen and an adapter learns. Its second matrix is zero, so the policy begins as its reference.

# %%
def add_adapter(model):
    torch.manual_seed(recipe["seed"])  # an adapter's first weights are drawn
    return peft.get_peft_model(model, training.lora_config(recipe)).eval()

# %%
def descent(policy, steps):
    weights = [weight for weight in policy.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe["learning_rate"], weight_decay=0.0)
    warm_up = math.ceil(recipe["warmup_steps"] * steps)
    kind = recipe["lr_scheduler_type"]
    schedule = get_scheduler(kind, optimiser, warm_up, steps)

    def step(loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, recipe["max_grad_norm"])
        for part in (optimiser, schedule):
            part.step()
        optimiser.zero_grad()

    return step

# %%
def dpo_round(model, rows):
    sides = [
        [encoded(row["prompt"], row[side]) for row in rows]
        for side in ("chosen", "rejected")
    ]
    with torch.no_grad():
        reference = [log_probs(model, side) for side in sides]
    policy, losses = add_adapter(model), []
    step = descent(policy, len(batches(len(rows))))
    for batch in batches(len(rows)):
        h_w, h_l = (
            log_probs(policy, [side[i] for i in batch]) - before[batch]
            for side, before in zip(sides, reference, strict=True)
        )
        loss = -F.logsigmoid(recipe["beta"] * (h_w - h_l)).mean()
        step(loss)
        losses.append(loss.item())
    return policy.merge_and_unload(), losses

# %% [markdown]
# **Merge, repeat.** The adapter is merged into the weights, which are the next round's policy *and* reference. That
# is the whole loop: for each share of the prompts, `answers = sample(...)`, `scores = scores_of(...)`, pairs, `model,
# losses = dpo_round(model, rows)`.

# %% [markdown]
# ### The package's rounds
#
# `zephyr online --method dpo --rounds 3 --prompts 160` does the same. Each round's answers, training and exam are
# artefacts: reused if nothing changed, and resumed after a kill. Prompts set aside are counted by reason.

# %%
made = {"iterative DPO": list(run_rounds(pipeline, plan))}
one = made["iterative DPO"][0]
kept = one.answers.results
print(f"{kept['rows_in']} prompts in, {kept['rows_out']} out; set aside:",
      ", ".join(f"{n} {why.replace('_', ' ')}" for why, n in kept["set_aside"].items()))
print(f"{one.training.results['updates']} optimiser steps on the pairs of round 1")

# %% [markdown]
# Do the two agree? Pairs first, by their scores: of several answers with the best score you took the first, the
# package draws one. Then the training, on the package's rows.

# %%
rows = evaluation.load_rows(one.training.folder / "pairs.jsonl")
theirs = {row["prompt"]: (row["score_chosen"], row["score_rejected"]) for row in rows}
assert theirs == {prompt: row["scores"] for prompt, row in by_hand.items()}
print(f"{len(theirs)} pairs, and their scores agree")

# %% tags=["remove-input"]
lessons.predict(
    "The first loss of *every* round: what is it, and what would another number mean?",
    [
        "ln 2; another would mean that policy and reference differ at the start",
        "it falls from round to round as the model gets better",
        "ln 2 in the first round only, since later ones start from a trained model",
    ],
    answer=0,
    key="first-loss",
)

# %% tags=["hide-output"]
again, _ = chat.load_model(sft_model, "float32")  # an adapter is put into its model
by_hand_model, losses = dpo_round(again, rows)
log = json.loads((one.training.folder / training.LOG).read_text(encoding="utf-8"))
apart = max(abs(mine - row["loss"]) for mine, row in zip(losses, log, strict=True))
print(" ".join(f"{loss:.3f}" for loss in losses))
print(f"largest difference from the package's log: {apart:.1e}")
firsts = [each.training.results["first_loss"] for each in made["iterative DPO"]]
print("first losses of the rounds:", ", ".join(f"{each:.4f}" for each in firsts))
assert apart < 1e-3

# %% tags=["remove-input"]
lessons.explain(
    f"{firsts[0]:.4f} each time: a round begins at its own reference, so every "
    "log-ratio is zero (chapter 05). For the same reason losses of different rounds "
    "cannot be compared: reference and answers are others. Your loop and the package's "
    f"differ by {apart:.0e} at most in any step.",
    key="first-loss",
)

# %% [markdown]
# ## What the rounds do
#
# Each measure alone can mislead, so look at all: the mean **grade** and the share of **right** answers in the exam of
# [chapter 07](07_evaluation); the **KL divergence** from dSFT, the cost of a gain; the **length**; and how many
# answers are **distinct**. The last three come from one answer each to held-out questions.

# %%
asked = questions[:: max(1, len(questions) // ASKED)][:ASKED]

# %% [markdown]
# KL is the mean of $\log \pi - \log \pi_\mathrm{dSFT}$ over the *policy's* answers, so it has to be sampled; the
# first term comes with the sample.

# %%
def measure(directory, exam):
    model, _ = chat.load_model(directory, "float32")
    said = [group[0] for group in sample(model, asked, 1, seed + 1)]
    rows = [
        (chat.encode_prompt(tokenizer, [message("user", prompt)]), one.token_ids)
        for prompt, one in zip(asked, said, strict=True)
    ]
    with torch.no_grad():
        before = log_probs(dsft, rows)
    own = torch.tensor([one.log_prob for one in said])
    return {
        "grade": exam.results["score"],
        "right": exam.results["right"],
        "kl": (own - before).mean().item(),
        "tokens": np.mean([one.n_tokens for one in said]),
        "distinct": len({one.text for one in said}) / len(said),
    }

# %%
def judgments(exam):
    return evaluation.load_rows(exam.folder / "judgments.jsonl")

def right_shares(exam):
    """The share of a question's turns that are answered right, one per question."""
    turns = {}
    for row in judgments(exam):
        right = row["score"] >= judge.right_from
        turns.setdefault(row["question_id"], []).append(right)
    return [np.mean(turns[question]) for question in sorted(turns)]

def right_difference(one, other):
    return evaluation.paired_difference(right_shares(one), right_shares(other))

# %%
sft_exam = pipeline.evaluation(("dsft",))["dsft"]
start = measure(sft_model, sft_exam)

def path_of(rounds):
    return [start] + [
        measure(each.training.folder / training.MODEL, each.exam) for each in rounds
    ]

def in_numbers(value):
    # adding 0 takes the sign of -0.000
    return str(value) if isinstance(value, int) else f"{round(value, 3) + 0:.3f}"

def show(points):
    columns = list(next(iter(points.values())))
    display(Markdown(markdown_table(
        ("name", *columns),
        [(name, *map(in_numbers, point.values())) for name, point in points.items()],
        numbers=range(1, len(columns) + 1),
    )))

def after_each(path):
    return {f"after {n} round{'s' * (n != 1)}": point for n, point in enumerate(path)}

# %% tags=["remove-input"]
lessons.predict(
    "Over the rounds of iterative DPO, what happens to the share of *right* answers?",
    [
        "it rises by more than five percentage points",
        "it stays within five percentage points",
        "it falls by more than five, as the grade rises",
    ],
    key="rounds",
)

# %% tags=["hide-output"]
paths = {"iterative DPO": path_of(made["iterative DPO"])}
show(after_each(paths["iterative DPO"]))

# %% tags=["hide-output"]
last = paths["iterative DPO"][-1]
right_change = right_difference(made["iterative DPO"][-1].exam, sft_exam)
print(f"right answers, last round minus dSFT: {right_change}")

# %% tags=["remove-input"]
gain = {name: last[name] - start[name] for name in start}
lessons.explain(
    f"From {start['right']:.1%} to {last['right']:.1%} (by "
    f"{100 * right_change.mean:+.1f} points, from {100 * right_change.low:+.1f} to "
    f"{100 * right_change.high:+.1f}), the grade from {start['grade']:.2f} to "
    f"{last['grade']:.2f}, the length from {start['tokens']:.1f} to "
    f"{last['tokens']:.1f} tokens, at a KL of {last['kl']:.2f} nats per answer. "
    + (
        "Some right answers are part of the gain: a grade gained in form alone would "
        "leave their share where it was. "
        if right_change.low > 0
        else "More right answers are not part of the gain that the exam shows; form "
        "is: full sentences, an opening, a closing offer. "
    )
    + "What the model never says cannot be chosen, such as facts that it does not "
    "know.",
    key="rounds",
    answer=0 if gain["right"] > 0.05 else 2 if gain["right"] < -0.05 else 1,
)

# %% [markdown]
# ## The control: offline, with as many steps
#
# A gain over dSFT shows that training on preferences helps, not that *sampling again* does. The control has the same
# prompts, the best against the worst answer of each and as many optimiser steps (or a few more, where fewer of its
# prompts are lost to ties; the cell prints both), but the feedback's answers, from four other models, in one run
# against dSFT. Its learning rate is half the rounds': the best of three on development questions, which no exam asks;
# at the rounds' learning rate a run of this length fell below dSFT there. [Chapter 05](05_ddpo)'s dDPO stands beside
# them, with several times the pairs.

# %%
def trained(name, records, recipe):
    def make(where):
        path = data.save_records(records, where / "feedback.jsonl")
        length = plan.sampling.max_new_tokens
        return train_round(where, sft_model, path, OnlineObjective(), recipe, length)

    done = artefacts.build_artefact(
        folder / name,
        inputs={"start": sft_key, "records": artefacts.fingerprint(records)},
        recipe=dict(recipe),
        make=make,
        code=["zephyr_utils.online.round_training"],
    )
    exam = pipeline.evaluate(
        name, str(done.folder / training.MODEL), folder=folder / f"{name}_exam"
    )
    return done, exam

# %%
by_prompt = {row["instruction"]: row for row in rated}
control = recipe | {"learning_rate": recipe["learning_rate"] / 2}
of_others = [by_prompt[prompt] for share in shares.rounds for prompt in share]
offline, offline_exam = trained("offline", of_others, control)
steps = {
    "iterative DPO": sum(r.training.results["updates"] for r in made["iterative DPO"]),
    "offline dDPO": offline.results["updates"],
}
for name, count in steps.items():
    print(f"{name}: {count} optimiser steps")

# %% tags=["remove-input"]
lessons.predict(
    "The offline pairs hold answers of models that know more than the student. With as "
    "many steps, which run has more *right* answers?",
    ["offline", "iterative", "no difference that the exam shows"],
    key="control",
)

# %% tags=["hide-output"]
paths["offline dDPO"] = [start, measure(offline.folder / training.MODEL, offline_exam)]
ddpo_exam = pipeline.evaluation(("ddpo",))["ddpo"]
chapter_05 = pipeline.model_directory("ddpo")
paths["dDPO, chapter 05"] = [start, measure(chapter_05, ddpo_exam)]
show({name: path[-1] for name, path in paths.items()})

final = judgments(made["iterative DPO"][-1].exam)
over = evaluation.mt_bench_difference(final, judgments(offline_exam))
print(f"grade, iterative minus offline: {over}")
right_over = right_difference(made["iterative DPO"][-1].exam, offline_exam)
print(f"right answers, iterative minus offline: {right_over}")

# %% tags=["remove-input"]
iterative, rival = paths["iterative DPO"][-1], paths["offline dDPO"][-1]
stored_over = chapter_seeds.stored_values(folder.name, "dpo_minus_offline")
lessons.explain(
    f"Right answers {iterative['right']:.1%} (iterative) and {rival['right']:.1%} "
    f"(offline), a paired difference of {100 * right_over.mean:+.1f} points, from "
    f"{100 * right_over.low:+.1f} to {100 * right_over.high:+.1f}; grades "
    f"{iterative['grade']:.2f} and {rival['grade']:.2f}, {over.mean:+.2f}, from "
    f"{over.low:+.2f} to {over.high:+.2f}; KL {iterative['kl']:.2f} and "
    f"{rival['kl']:.2f} nats. "
    + (
        "In the stored seeds the grades differ by "
        + ", ".join(f"{one:+.2f}" for one in stored_over)
        + ". "
        if stored_over
        else ""
    )
    + "The pairs can teach different things: on-policy ones which of its *own* habits "
    "to keep, getting a fact right among them; off-policy ones also what the model "
    "would not have said. dDPO of chapter 05, with all pairs, has "
    f"{paths['dDPO, chapter 05'][-1]['grade']:.2f} "
    f"and {paths['dDPO, chapter 05'][-1]['right']:.1%}.",
    key="control",
    answer=0 if right_over.high < 0 else 1 if right_over.low > 0 else 2,
)

# %% [markdown]
# ### Two answers or five
#
# Sampling and judging cost in proportion to K. What do more answers buy? Take the first two of each prompt's answers
# from round 1, and look at the pairs before training: how many, how far apart, how often the wrong way round.

# %%
answered = evaluation.load_rows(one.answers.folder / "feedback.jsonl")
two = [
    {**row, "models": row["models"][:2], "completions": row["completions"][:2]}
    for row in answered
]

def describe(rows):
    true = np.array([
        [grade(row["prompt"], row[side]) for side in ("chosen", "rejected")]
        for row in rows
    ])
    gap = true[:, 0] - true[:, 1]
    return {
        "pairs": len(rows), "chosen": true[:, 0].mean(), "rejected": true[:, 1].mean(),
        "equal": (gap == 0).mean(), "reversed": (gap < 0).mean(),
    }

# %% tags=["remove-input"]
lessons.predict(
    "How far apart are the two answers of a pair of two, by the true grade, compared "
    "with the best and worst of five?",
    ["nearer", "about as far, within a tenth", "further"],
    key="two",
)

# %% tags=["hide-output"]
kinds = {"2": describe(round_pairs(two, 1.0)[0]), str(SAMPLES): describe(rows)}
show({f"K = {k}": described for k, described in kinds.items()})
few, few_exam = trained("two_answers", two, recipe)
paths["K = 2, one round"] = [start, measure(few.folder / training.MODEL, few_exam)]
show({
    f"K = {SAMPLES}, one round": paths["iterative DPO"][1],
    "K = 2, one round": paths["K = 2, one round"][1],
})

# %% tags=["remove-input"]
wide, narrow = kinds[str(SAMPLES)], kinds["2"]
gaps = [described["chosen"] - described["rejected"] for described in (narrow, wide)]
lessons.explain(
    f"{gaps[0]:.2f} grades against {gaps[1]:.2f}, in {narrow['pairs']} pairs against "
    f"{wide['pairs']}: two draws are less often a good and a poor one. Labels the "
    f"wrong way round are {narrow['reversed']:.1%} and {wide['reversed']:.1%}, a few "
    "pairs each, too few to compare. SPPO's authors found little "
    "between two and five at scale: "
    f"{lessons.published('28.26 against 28.53 %', 'AlpacaEval 2; SPPO, figure 4')} "
    "after three rounds.",
    key="two",
    answer=0 if gaps[0] < 0.9 * gaps[1] else 2 if gaps[0] > 1.1 * gaps[1] else 1,
)

# %% [markdown]
# ## SPPO: a target for each answer
#
# Of five ratings DPO uses only which is highest and which lowest. SPPO treats a round as a game against the last
# round's model $\pi_t$: how often does an answer $y$ beat what $\pi_t$ says? A round aims at the policy
#
# $$
# \pi_{t+1}(y \mid x) \propto \pi_t(y \mid x) \, e^{\eta P(y \succ \pi_t \mid x)} .
# $$ (eq-11-game)
#
# The *step size* $\eta$ says how far one round goes. Take the logarithm, with $Z$ the sum that makes the right side a
# distribution: $h(y) = \log \pi_{t+1} - \log \pi_t = \eta P(y \succ \pi_t) - \log Z$. The paper replaces the
# unknown $\log Z$ by $\eta / 2$, its value to first order in $\eta$, since a policy beats itself half of the time, and
# regresses:
#
# $$
# L = \tfrac{1}{2} \sum_{y \in \{y_w, y_l\}} \big[ h(y) - \eta ( P(y \succ \pi_t) - \tfrac{1}{2} ) \big]^2 .
# $$ (eq-11-sppo)
#
# Each answer has its own target, in nats, and stops pulling when it is reached; DPO's margin has no target. The win rate
# is estimated from the K answers, which are samples of $\pi_t$.

# %% [markdown]
# ````{exercise} Win rates from K answers
# :label: ex-11-win-rates
#
# **Difficulty** ●●●○○ · **Minutes** 8
#
# Write `win_rates(scores, temperature)`; `scores` is a tensor (prompts, K). Answer i beats answer k with chance
# $\sigma((s_i - s_k) / \tau)$, $\tau$ being the temperature. Return each answer's mean chance against all K, itself
# included, in the same shape.
# ````

# %% tags=["exercise"]
def win_rates(scores, temperature):
    ...


exercises.check_win_rates(win_rates)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# All pairs at once: subtract the scores from themselves along a new axis, which gives each prompt a table (K, K). An answer
# beats itself with a chance of a half.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `scores[:, :, None] - scores[:, None, :]` has all differences, (prompts, K, K): answer i in axis 1, its rival k in axis 2.
# `torch.sigmoid` makes chances of them; over which axis is the mean?
# ```

# %% [markdown]
# `````{solution} ex-11-win-rates
# :class: dropdown
# ```python
# def win_rates(scores, temperature):
#     differences = scores[:, :, None] - scores[:, None, :]
#     return torch.sigmoid(differences / temperature).mean(dim=2)
# ```
# `````

# %%
win_rates = exercises.yours(win_rates, exercises.check_win_rates)
sppo = OnlineObjective("sppo")
whole = torch.tensor(scores[~np.isnan(scores).any(axis=1)])
rates = win_rates(whole, sppo.win_temperature)
assert torch.allclose(rates, objectives.win_rates(whole, sppo.win_temperature))
print(f"a prompt's win rates: {rates.sum(dim=1).mean():.3f}, K / 2 = {SAMPLES / 2}")
targets = sppo.eta * (rates - 0.5)
ends = targets.min(), targets.max()
print(f"targets from {ends[0]:+.2f} to {ends[1]:+.2f} nats at eta {sppo.eta:g}")

# %% [markdown]
# Its check: before the first step $h = 0$, so the loss is $\eta^2 / 2$ times the summed squares of $P - \frac12$. The
# paper's $\eta = 1{,}000$ puts targets at up to 500 nats; ours can be reached.

# %%
high, low = rates.max(dim=1).values, rates.min(dim=1).values
zero = torch.zeros_like(high)
by_formula = sppo.eta**2 / 2 * ((high - 0.5) ** 2 + (low - 0.5) ** 2).mean()
by_package = objectives.sppo_loss(zero, zero, high, low, sppo.eta)
print(f"loss before the first step: {by_formula:.4f} {by_package:.4f}")
assert torch.isclose(by_formula, by_package)

# %% [markdown]
# ## SELM: towards what the model would not say
#
# A loop learns only from answers that it draws, and each round draws fewer different ones. SELM adds a term that
# lowers what the last round's model says, here the first sampled answer $y_s$, and so leaves more probability for
# everything else:
#
# $$
# L = -\log \sigma\big( \beta [ h(y_w) - h(y_l) ] \big) + \alpha \beta \, h(y_s) .
# $$ (eq-11-selm)
#
# Two checks on random numbers: at $\alpha = 0$ it is DPO bit for bit, and at the start, where DPO's pull on the
# chosen answer is $\beta / 2$, the term's is $\alpha \beta$.

# %%
drawn = torch.randn(5, 16, generator=torch.Generator().manual_seed(seed))
four, said = drawn[:4], drawn[4].requires_grad_()
plain = objectives.dpo_loss(*four, beta=0.1)
assert torch.equal(
    objectives.selm_loss(*four, 0.1, sampled_logratios=said, alpha=0.0), plain
)

# %% [markdown]
# How strong is it otherwise?

# %%
for alpha in (0.001, 0.1, 1.0):
    loss = objectives.selm_loss(*four, 0.1, sampled_logratios=said, alpha=alpha)
    [pull] = torch.autograd.grad(loss, said)
    share = pull[0].item() * len(said) / (0.1 / 2)
    print(f"alpha {alpha:5.3f}: its pull is {100 * share:.1f} % of DPO's at the start")

# %% [markdown]
# The paper's $\alpha$ is 0.001. In a run of this size so small a term is indistinguishable from chance; ours is a
# hundred times as large.

# %% [markdown]
# ### On the same first answers
#
# Only the objective should differ. All methods have the same prompts in each round, K, seeds, judge, recipe and
# number of steps, and the first round's answers are the same file. From the second round on each answers for itself,
# which is part of the method.

# %%
for name, objective in {
    "SPPO": sppo, "SELM": OnlineObjective("selm", alpha=0.1),
}.items():
    other = OnlineSettings(objective, ROUNDS, plan.sampling, PROMPTS)
    made[name] = list(run_rounds(pipeline, other))
    assert made[name][0].answers.key == one.answers.key, "not the same first answers"

# %% tags=["remove-input"]
lessons.predict(
    "After the last round, how many of SPPO and SELM differ from iterative DPO in "
    "grade by an interval that leaves out zero?",
    ["neither", "one", "both"],
    key="methods",
)

# %% tags=["hide-output"]
differences = {}
for name in ("SPPO", "SELM"):
    paths[name] = path_of(made[name])
    differences[name] = evaluation.mt_bench_difference(
        judgments(made[name][-1].exam), final
    )
    show({f"{name}, round {n}": point for n, point in enumerate(paths[name][1:], 1)})
    print(f"grade, {name} minus iterative DPO: {differences[name]}")

# %% tags=["remove-input"]
apart = [name for name, d in differences.items() if d.low > 0 or d.high < 0]
lessons.explain(
    "; ".join(
        f"{name}: {d.mean:+.2f}, from {d.low:+.2f} to {d.high:+.2f}, right answers "
        f"{paths[name][-1]['right']:.1%}, KL {paths[name][-1]['kl']:.2f}, distinct "
        f"{paths[name][-1]['distinct']:.0%}"
        for name, d in differences.items()
    )
    + f". Iterative DPO: right {iterative['right']:.1%}, KL {iterative['kl']:.2f}, "
    f"distinct {iterative['distinct']:.0%}. The intervals are over questions alone, "
    "and only DPO's learning rate was searched: read a difference together with its KL "
    "before you attribute it to the objective.",
    key="methods",
    answer=len(apart),
)

# %% [markdown]
# ### What is new in the answers
#
# SELM is meant to bring out answers that the model has not given. So look at what each round trained on: how many of a
# prompt's answers are **distinct**, and for how many prompts the best one deserves a **10**. SPPO plays against the last
# round's model: on what share of the exam's turns does the new model **beat** it, equal grades counting half?

# %%
def variety(each):
    kept = sorted((each.answers.folder / "samples").glob("*.jsonl"))
    groups = [group for path in kept for group in read_samples(path)]
    rows = evaluation.load_rows(each.answers.folder / "feedback.jsonl")
    best = [
        max(grade(row["instruction"], one["response"]) for one in row["completions"])
        for row in rows
    ]
    return {
        "distinct": np.mean([len({one.text for one in group}) for group in groups]),
        "tens": (np.array(best) == 10).sum() / len(groups),
    }

# %% [markdown]
# The exam asks every model the same questions, so two models are compared turn by turn.

# %%
def exam_grades(exam):
    given = {(row["question_id"], row["turn"]): row["score"] for row in judgments(exam)}
    return np.array([given[turn] for turn in sorted(given)])

def beats_the_last(rounds):
    exams = [pipeline.evaluation(("dsft",))["dsft"], *(each.exam for each in rounds)]
    return [
        (after > before).mean() + (after == before).mean() / 2
        for before, after in itertools.pairwise(map(exam_grades, exams))
    ]

# %% tags=["remove-input"]
lessons.predict(
    "SELM lowers the probability of what the last round's model says. How many "
    "distinct answers to a prompt does it draw in the last round, compared with "
    "iterative DPO?",
    [
        "more, by a third of an answer at least",
        "as many, within a third of an answer",
        "fewer, by a third of an answer at least",
    ],
    key="new",
)

# %% tags=["hide-output"]
compared = ("iterative DPO", *differences)
new = {name: [variety(each) for each in made[name]] for name in compared}
beats = {name: beats_the_last(made[name]) for name in new}
display(Markdown(markdown_table(
    ("round", f"distinct of {SAMPLES}", "prompts with a 10", "beats the last"),
    [
        (
            f"{name}, {number}", f"{row['distinct']:.2f}",
            f"{100 * row['tens']:.0f} %", f"{100 * won:.1f} %",
        )
        for name, rounds in new.items()
        for number, (row, won) in enumerate(zip(rounds, beats[name], strict=True), 1)
    ],
    numbers=range(1, 4),
)))

# %% tags=["remove-input"]
more = new["SELM"][-1]["distinct"] - new["iterative DPO"][-1]["distinct"]
first_ten = {
    name: next((n for n, row in enumerate(rounds, start=1) if row["tens"]), None)
    for name, rounds in new.items()
}
lessons.explain(
    "Distinct answers to a prompt in the last round: "
    + ", ".join(f"{name} {rounds[-1]['distinct']:.2f}" for name, rounds in new.items())
    + f"; in the first round, of dSFT, {new['SELM'][0]['distinct']:.2f}. The first top "
    "grade: "
    + ", ".join(
        f"{f'round {n}' if n else 'in no round'} ({name})"
        for name, n in first_ten.items()
    )
    + (
        ". dSFT gives some already, so no round has to discover it. "
        if set(first_ten.values()) == {1}
        else ". "
    )
    + "Prompts with one, from the first to the last round: "
    + ", ".join(
        f"{name} {rounds[0]['tens']:.0%} to {rounds[-1]['tens']:.0%}"
        for name, rounds in new.items()
    )
    + "; each round has other prompts, and fewer distinct answers give fewer chances"
    + ". SPPO's model beats the last round's on "
    + ", then ".join(f"{won:.1%}" for won in beats["SPPO"])
    + " of turns (a half would be no gain), iterative DPO's on "
    + ", then ".join(f"{won:.1%}" for won in beats["iterative DPO"])
    + ". One seed.",
    key="new",
    answer=0 if more >= 1 / 3 else 2 if more <= -1 / 3 else 1,
)

# %% [markdown]
# ### Eta and alpha over decades
#
# SPPO's paper has $\eta = 1{,}000$ with a learning rate of 5e-7, SELM's $\alpha = 0.001$. What do they do here? The answer
# takes too long for a chapter, so these are stored results: `python benchmarks/online.py` trains one round for each
# value, all from one file of rated answers, and asks *development* questions, which no exam has.

# %% tags=["remove-input"]
lessons.predict(
    "From 0.1 to 1,000, $\\eta$ makes SPPO's targets ten thousand times as large; "
    "learning rate and steps stay. What does the KL divergence from dSFT do?",
    [
        "it grows with every decade",
        "it grows, and levels off where targets cannot be reached any more",
        "it hardly changes, since AdamW divides the scale out",
    ],
    key="decades",
)

# %%
results = Path(zephyr_utils.__file__).parents[1] / "benchmarks" / "results"
kept = artefacts.read_json(results / "online.json")
tried = kept.get("tried", [])  # empty without the repository beside the package
print("; ".join(f"{count} {name}" for name, count in kept.get("sizes", {}).items()))
print("seeds:", *sorted({row["seed"] for row in tried}))

# %% [markdown]
# A row is one method at one value with one seed.

# %%
def column(method, key):
    """The mean over seeds at each value, in the values' order."""
    of_value = {}
    for row in tried:
        if row["method"] == method:
            of_value.setdefault(row["value"], []).append(row[key])
    return {value: float(np.mean(of_value[value])) for value in sorted(of_value)}

# %% tags=["hide-output"]
measured = ("grade", "right", "kl", "distinct")
display(Markdown(markdown_table(
    ("method", *measured),
    [
        (name.format(value), *(f"{column(method, key)[value]:.3f}" for key in measured))
        for method, name in (
            ("dpo", "DPO"), ("sppo", "SPPO, eta {:g}"), ("selm", "SELM, alpha {:g}")
        )
        for value in column(method, "grade")
    ],
    numbers=range(1, 5),
)))

# %% tags=["remove-input"]
ETAS, shape = (0.1, 10.0, 100.0, 1000.0), None
happened = "The kept results lie in the repository: benchmarks/results/online.json."
moved = column("sppo", "kl")
if set(ETAS) <= set(moved):
    low, middle, near, top = (moved[eta] for eta in ETAS)
    plain = column("dpo", "grade")[0.0]
    shape = 2 if top < 2 * low else 1 if top < 1.5 * near else 0
    happened = (
        f"KL {low:.3f} nats at 0.1, {middle:.2f} at 10, {near:.2f} at 100 and "
        f"{top:.2f} at 1,000 (estimated from samples, so noise can take a KL near zero "
        "below it). At a small $\\eta$ targets are reached and hold the "
        "policy where it is. At a large one they are out of reach: the square acts as "
        "a nearly constant push, and AdamW divides its size out. SELM's grades minus "
        "DPO's: "
        + ", ".join(
            f"{grade - plain:+.2f} (alpha {alpha:g})"
            for alpha, grade in column("selm", "grade").items()
        )
        + f", on {kept['sizes']['questions']} questions with one answer each, where "
        "a mean grade has a standard error of about a quarter. Seeds of the draws: "
        f"{len({row['seed'] for row in tried})}, of one dSFT model."
    )
lessons.explain(happened, key="decades", answer=shape)

# %% [markdown]
# ## What the judge's noise does
#
# The highest of five ratings tends to be one that erred upwards, so the chosen answer is rated better than it is,
# even if the judge's errors have mean zero. This is the **winner's curse**; best of n and every loop that chooses by
# a score has it. The ratings that chose cannot show it. A second, independent judging of the same answers can, for
# its errors are its own.

# %% [markdown]
# ````{exercise} A judge's optimism
# :label: ex-11-optimism
#
# **Difficulty** ●●●○○ · **Minutes** 8
#
# Write `judge_optimism(ratings, fresh)`, two independent judgings, arrays (prompts, K). The first chooses the best
# answer to each prompt. Return one number: the mean of the first judging's ratings of the chosen answers minus the
# second's ratings of *the same answers*.
# ````

# %% tags=["exercise"]
def judge_optimism(ratings, fresh):
    ...


exercises.check_judge_optimism(judge_optimism)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The first judging alone chooses. The highest number of the second is another answer's: look up the second at the place
# that the first chose.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `chosen = ratings.argmax(axis=1)`, and `ratings[np.arange(len(ratings)), chosen]` has one entry per prompt. The same two
# indices work on `fresh`.
# ```

# %% [markdown]
# `````{solution} ex-11-optimism
# :class: dropdown
# ```python
# def judge_optimism(ratings, fresh):
#     rows, chosen = np.arange(len(ratings)), ratings.argmax(axis=1)
#     return (ratings[rows, chosen] - fresh[rows, chosen]).mean()
# ```
# `````

# %% [markdown]
# Each round's answers are stored with the ratings that chose. Ask the same judge with four other seeds, and take the
# mean.

# %%
judge_optimism = exercises.yours(judge_optimism, exercises.check_judge_optimism)
others_like_it = [pipeline.setting.feedback_judge(seed + 1_000 + n) for n in range(4)]

def ratings_of(records):
    whole = [row for row in records if len(row["completions"]) == SAMPLES]
    table = [[score(one) for one in row["completions"]] for row in whole]
    return whole, np.array(table)

# %% [markdown]
# For each round: the optimism, the same error for an answer at random, and the true grades of its pairs.

# %%
def noise_of(each):
    records = evaluation.load_rows(each.answers.folder / "feedback.jsonl")
    kept, ratings = ratings_of(records)
    fresh = np.mean([ratings_of(ask(kept))[1] for ask in others_like_it], axis=0)
    pairs = evaluation.load_rows(each.training.folder / "pairs.jsonl")
    return {
        "optimism": judge_optimism(ratings, fresh),
        "at random": (ratings - fresh).mean(),
        **describe(pairs),
    }

# %% tags=["remove-input"]
lessons.predict(
    "The judge is the same in every round. What happens, from the first round to the "
    "last, to the share of pairs whose two answers *truly* deserve the same grade?",
    ["it rises", "no change that this many pairs show", "it falls"],
    key="noise",
)

# %% tags=["hide-output"]
noise = [noise_of(each) for each in made["iterative DPO"]]
show({f"round {number}": row for number, row in enumerate(noise, start=1)})

# %% tags=["hide-output"]
moved = {}
for key in ("equal", "reversed"):
    early, late = (
        evaluation.wilson_interval(round(row[key] * row["pairs"]), row["pairs"])
        for row in (noise[0], noise[-1])
    )
    print(f"{key:8s} first round {early}, last {late}")
    # only intervals that are apart show a change
    moved[key] = (late.low > early.high) - (late.high < early.low)

# %% tags=["remove-input"]
lessons.explain(
    "The chosen answers are rated "
    + ", then ".join(f"{row['optimism']:+.2f}" for row in noise)
    + " points of its five-point scale too high, an answer at random "
    f"{noise[0]['at random']:+.2f}. Pairs of truly equal grade are "
    + ", then ".join(f"{row['equal']:.0%}" for row in noise)
    + " of all, reversed ones "
    + ", then ".join(f"{row['reversed']:.0%}" for row in noise)
    + ". The judge is the same; what it has to judge is not. "
    + (
        "The answers have become alike, so a larger part of the choice is noise, and "
        "later rounds train on it. "
        if moved["equal"] > 0
        else "Answers are still far enough apart here for the choice to be about them. "
    )
    + ("" if moved["reversed"] else "The reversed pairs are too few for a trend. ")
    + "Two ratings per answer, or only pairs with a wide gap, would lower the share of "
    "noise; neither is tried here.",
    key="noise",
    answer=1 - moved["equal"],
)

# %% [markdown]
# ## A judge with cyclic preferences
#
# SPPO's paper argues for judges that compare *pairs* of answers, since such preferences need not be transitive: A
# can beat B, B beat C and C beat A. (Its code, like ours, computes win rates from one score per answer, which is
# Bradley-Terry and always transitive.) What does self-play do then? No model is needed: three answers, a
# table of who beats whom, and equation {eq}`eq-11-game` carried out exactly.

# %% [markdown]
# ````{exercise} One exact round of self-play
# :label: ex-11-self-play
#
# **Difficulty** ●●●○○ · **Minutes** 8
#
# Write `self_play(policy, wins, eta)`: `policy` has the probabilities of n answers; `wins[i, j]` is the chance that
# answer i beats answer j. Return the next policy, n probabilities.
# ````

# %% tags=["exercise"]
def self_play(policy, wins, eta):
    ...


exercises.check_self_play(self_play)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# An answer's win rate against the policy is a mean of its chances, each weighted by how often the policy gives that rival.
# Do the raised probabilities add up to 1?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `wins @ policy` is each answer's win rate against the policy. `np.exp` of `eta` times that is the factor; the sum of the
# products is what to divide by.
# ```

# %% [markdown]
# `````{solution} ex-11-self-play
# :class: dropdown
# ```python
# def self_play(policy, wins, eta):
#     raised = policy * np.exp(eta * (wins @ policy))
#     return raised / raised.sum()
# ```
# `````

# %%
self_play = exercises.yours(self_play, exercises.check_self_play)
qualities = np.array([0.0, 1.0, 2.0])
tables = {
    "one score per answer": 1 / (1 + np.exp(qualities[None] - qualities[:, None])),
    "cyclic": np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]),
}

# %% [markdown]
# Sixty rounds from one first policy, each against the one before:

# %%
def play(wins, rounds=60, eta=1.0):
    path = [np.array([0.5, 0.3, 0.2])]
    for _ in range(rounds):
        path.append(self_play(path[-1], wins, eta))
    return np.array(path)

# %% tags=["remove-input"]
lessons.predict(
    "Under the cyclic judge nothing beats the policy that gives each answer one "
    "third. Does self-play end there?",
    [
        "yes, the last policy tends to it",
        "the last policy circles away from it, the mean of all policies stays near it",
        "no, the first answer wins for good",
    ],
    answer=1,
    key="circles",
)

# %% tags=["hide-output"]
played = {name: play(wins) for name, wins in tables.items()}
for name, path in played.items():
    mean, away = path.mean(axis=0), np.abs(path - 1 / 3).max(axis=1)
    print(f"{name:20s} last {path[-1].round(2)}  mean of all {mean.round(2)}")
    print(f"    from one third: {away[0]:.2f} at first, {away[-20:].max():.2f} late")

# %%
fig, axes = figures.figure(2, width=9.0, sharey=True)
for axis, (name, path) in zip(axes, played.items(), strict=True):
    for n, answer in enumerate("ABC"):
        style = figures.style.series_style(n) | {"markevery": 10}
        label = f"answer {answer}" if axis is axes[0] else None
        axis.plot(path[:, n], label=label, **style)
    axis.set_title(name)
    axis.set_xlabel("round of self-play")
axes[0].set_ylabel("probability")
figures.style.legend_below(fig)
figures.show(
    fig,
    alt="Probabilities of three answers over rounds of self-play. With one score per "
    "answer the best takes all; with cyclic preferences each rises and falls in turn, "
    "ever further.",
    caption="Probabilities of three answers over sixty rounds of exact self-play under "
    "two judges, with a step size of 1, from the same first policy.",
)

# %% tags=["remove-input"]
circle = played["cyclic"]
circle_mean = float(np.abs(circle.mean(axis=0) - 1 / 3).max())
lessons.explain(
    "The last policy circles around the fair one, ever further from it: late in the "
    f"game one answer has up to {circle[-20:].max():.0%}. The mean over all rounds is "
    f"within {circle_mean:.2f} of one third. Theorems on self-play are about that "
    "mean; a recipe keeps the last model. With one score per answer the best takes "
    f"{played['one score per answer'][-1].max():.0%}.",
    key="circles",
)

# %% [markdown]
# ## The model as its own judge
#
# Judging costs as much as sampling. Can the model do it? Yuan et al. {cite:p}`yuan2024selfrewarding` ask it in words:
# a prompt lists five points, the model writes how many of them its answer deserves, and rounds of DPO train on best
# and worst. Their model, Llama 2 70B, had first been taught to judge by examples. Its AlpacaEval 2 win rate rose from
# 9.94 to 15.38 and 20.44 % over three iterations (read in summaries, not in the paper).
#
# *Just Say What You Want* {cite:p}`xu2024justsay` asks for less. We could read only its abstract and first page, and
# no code is listed. This much is known: "only-prompting" makes preference data "without relying on judgment
# capabilities", which self-rewarding methods need and small models lack; the gap between positive and negative
# examples is controlled, with more hard negatives in later stages; it reports 34.5 % in AlpacaEval 2's
# length-controlled win rate, from Mistral-7B and Mistral-7B-Instruct. According to a review, the model writes both
# sides of a pair, one under a prefix that asks for a good answer, the other under one that asks for a poor one, and
# pairs are stored without prefix for DPO. Prefixes, schedule and other numbers are unknown to us.
#
# ```{admonition} Our reading, not a paper's text
# :class: note
# A model that answers better when it is *asked to* holds a judge already. Rate an answer $y$ by how much likelier the
# model finds it once a turn $a$ asks for what is wanted:
#
# $$
# r_t(y) = \log \pi_t(y \mid a, x) - \log \pi_t(y \mid x) .
# $$ (eq-11-self-reward)
#
# No number is written and nothing is taught. `zephyr online --method self-rewarding --ask "..."` does this.
# ```
#
# Where would such a loop lead? By [chapter 05](05_ddpo) the best policy under a reward is
# $\pi_t\, e^{r / \beta} / Z$. With equation {eq}`eq-11-self-reward` and $\beta = 1$ that is $\pi_t(y \mid a, x)$
# itself: the model learns to answer as if always asked, and a smaller $\beta$ takes it further that way. No fact
# comes in from outside. And over the model's own answers the mean of $r_t$ is
# $-\mathrm{KL}(\pi_t(\cdot \mid x) \,\|\, \pi_t(\cdot \mid a, x))$, at most zero: it rises as asking comes to change
# nothing, whether the answers are better or not. Both, for three answers:

# %%
plain = np.array([0.6, 0.3, 0.1])
when_asked = np.array([0.2, 0.3, 0.5])
self_reward = np.log(when_asked) - np.log(plain)
for beta in (1.0, 0.5):
    best = plain * np.exp(self_reward / beta)
    print(f"beta {beta}: the best policy is {(best / best.sum()).round(3)}")
print(f"mean of r {(plain * self_reward).sum():.4f},",
      f"-KL {-(plain * np.log(plain / when_asked)).sum():.4f}")
assert np.allclose(plain * np.exp(self_reward), when_asked)

# %% [markdown]
# Before training, test whether asking helps at all: grade what dSFT answers with the turn and without. Our dSFT has
# seen no system turn in training.

# %%
print(ASK)
graded_asked = {}
for name, before in {"bare": [], "asked": [message("system", ASK)]}.items():
    said = sample(dsft, [[*before, message("user", one)] for one in asked], 1, seed + 2)
    graded_asked[name] = np.array([
        grade(prompt, group[0].text) for prompt, group in zip(asked, said, strict=True)
    ])
    print(f"{name:6s} mean grade {graded_asked[name].mean():.2f}")
asking = evaluation.paired_difference(graded_asked["asked"], graded_asked["bare"])
print(f"asked minus bare: {asking}")

# %% [markdown]
# Then the rounds as above, with the same first answers, prompts and steps, and no judge.

# %%
own = OnlineSettings(OnlineObjective("self-rewarding"), ROUNDS, plan.sampling, PROMPTS)
made["self-rewarding"] = list(run_rounds(pipeline, own))
mine, others = (
    {row["instruction"]: row for row in evaluation.load_rows(
        made[name][0].answers.folder / "feedback.jsonl")}
    for name in ("self-rewarding", "iterative DPO")
)
assert all(
    [c["response"] for c in row["completions"]]
    == [c["response"] for c in others[prompt]["completions"]]
    for prompt, row in mine.items()
), "not the same first answers"

# %% [markdown]
# The package stores each log-ratio beside its rating. By hand, for one prompt:

# %%
prompt, row = next(iter(mine.items()))
for completion in row["completions"]:
    text = completion["response"]
    bare = [message("user", prompt), message("assistant", text)]
    both = [[message("system", ASK), *bare], bare]
    with_ask, without = training.answer_log_probs(dsft, tokenizer, both)
    noted = completion["annotations"]["helpfulness"]["Rationale"]
    ratio = (with_ask - without).item()
    print(f"{ratio:+7.3f}  {noted:30s} {text!r}")
    assert abs(ratio - float(noted.split()[1])) < 1e-2

# %% [markdown]
# Now its opinion beside the true grade, round by round. *Agreement* is the share of pairs of different true grade
# that the self-reward ranks correctly; one half is chance. Agreement alone can stay while the opinion rises. Does it
# rise faster than the grade?

# %% [markdown]
# ````{exercise} Its opinion of itself
# :label: ex-11-ahead
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `ahead(rewards, grades)`, two lists with one array per round: the self-rewards of the round's answers, in nats,
# and their true grades, 1 to 10. Rounds may differ in their number of answers. Return one number per round: the rise of
# the mean reward since the first round minus the rise of the mean grade. The two have different units, so divide each
# rise by the standard deviation that reward or grade had in the *first* round.
# ````

# %% tags=["exercise"]
def ahead(rewards, grades):
    ...  # a list, one number per round


exercises.check_ahead(ahead)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# Write the rise of one of them first: `(each.mean() - rounds[0].mean()) / rounds[0].std()` for each of the rounds. The
# first number is 0.
# ```

# %% [markdown]
# `````{solution} ex-11-ahead
# :class: dropdown
# ```python
# def rises(rounds):
#     first = rounds[0]
#     return [(each.mean() - first.mean()) / first.std() for each in rounds]
#
# def ahead(rewards, grades):
#     return [r - g for r, g in zip(rises(rewards), rises(grades))]
# ```
# A ruler must not change from round to round: as answers become alike, a round's own standard deviation shrinks, and any
# rise would look larger.
# `````

# %%
def opinions(each):
    rows = evaluation.load_rows(each.answers.folder / "feedback.jsonl")
    rated = [
        (float(one["annotations"]["helpfulness"]["Rationale"].split()[1]),
         grade(row["instruction"], one["response"]))
        for row in rows for one in row["completions"] if one["annotations"]
    ]
    pairs = evaluation.load_rows(each.training.folder / "pairs.jsonl")
    return np.array(rated), describe(pairs)

# %% tags=["remove-input"]
lessons.predict(
    "dSFT rates its own first answers. Of pairs whose true grades differ, what share "
    "does it rank correctly?",
    [
        "less than half",
        "half, as far as these pairs show: chance",
        "more than half",
    ],
    key="self",
)

# %% tags=["hide-output"]
seen = [opinions(each) for each in made["self-rewarding"]]
rewards, true_grades = zip(*(rated_so.T for rated_so, _ in seen))
how_far = exercises.yours(ahead, exercises.check_ahead)
ahead_by = how_far(list(rewards), list(true_grades))
self_path = []
for number, (rated_so, of_pairs) in enumerate(seen, start=1):
    right_way = 1 - of_pairs["equal"] - of_pairs["reversed"]
    self_path.append({
        "self-reward": rated_so[:, 0].mean(), "true grade": rated_so[:, 1].mean(),
        "agreement": right_way / max(1 - of_pairs["equal"], 1e-9),
        "ahead": float(ahead_by[number - 1]),
    })
show({f"answers of round {n}": point for n, point in enumerate(self_path, start=1)})

# %% tags=["hide-output"]
differ = round((1 - seen[0][1]["equal"]) * seen[0][1]["pairs"])
agrees = evaluation.wilson_interval(round(self_path[0]["agreement"] * differ), differ)
print(f"agreement in round 1, of {differ} pairs: {agrees}")

# %% [markdown]
# The models, in the exam and by KL, as for the other methods:

# %% tags=["hide-output"]
paths["self-rewarding"] = path_of(made["self-rewarding"])
show(after_each(paths["self-rewarding"]))

# %% tags=["remove-input"]
one_own, end_own, end = self_path[0], self_path[-1], paths["self-rewarding"][-1]
by_judge = 1 - noise[0]["reversed"] / (1 - noise[0]["equal"])
lessons.explain(
    f"{agrees.estimate:.0%} (from {agrees.low:.0%} to {agrees.high:.0%}); of the "
    f"judge's pairs {by_judge:.0%} are ranked correctly. Asking "
    f"changed dSFT's grade by {asking.mean:+.2f} (from {asking.low:+.2f} to "
    f"{asking.high:+.2f}). Over the rounds the mean self-reward went from "
    f"{one_own['self-reward']:.2f} to {end_own['self-reward']:.2f} nats, the true "
    f"grade of the same answers from {one_own['true grade']:.2f} to "
    f"{end_own['true grade']:.2f}: self-reward is ahead by {end_own['ahead']:+.2f} "
    f"standard deviations. In the exam the grade went from {start['grade']:.2f} to "
    f"{end['grade']:.2f} (iterative DPO {last['grade']:.2f}), right answers from "
    f"{start['right']:.1%} to {end['right']:.1%}. "
    + (
        "Without training in being asked, the model has no opinion that is worth "
        "training on, and the loop cannot tell. "
        if end["grade"] <= start["grade"] + 0.1
        else "Part of what a judge knows can be had by asking. "
    )
    + "The test before training costs a minute; Yuan et al. taught their model to "
    "judge first. One seed.",
    key="self",
    answer=0 if agrees.high < 0.5 else 2 if agrees.low > 0.5 else 1,
)

# %% [markdown]
# ## What the gains cost
#
# Grade and right answers against KL from dSFT: a method is better where it lies higher *at the same KL*. The line to
# read them against is dDPO's over $\beta$: as in [chapter 10](10_reward_models), a share of the way from dSFT to dDPO
# stands for a larger $\beta$. Best of n is in that chapter's figure, and [chapter 12](12_comparisons) ends with one
# for all methods.

# %%
def part_of_the_way(share):
    name = f"ddpo_{share:.2f}"

    def make(where):
        model, _ = chat.load_model(chapter_05, "float32")
        model.load_state_dict(objectives.extrapolate_weights(
            dsft.state_dict(), model.state_dict(), share - 1
        ))
        for part in (model, tokenizer):
            part.save_pretrained(where / training.MODEL)
        return {"share": share}

    done = artefacts.build_artefact(
        folder / name,
        inputs={"dsft": sft_key, "ddpo": artefacts.fingerprint(chapter_05)},
        recipe={"share": share},
        make=make,
        code=["zephyr_utils.objectives.extrapolation"],
    )
    directory = done.folder / training.MODEL
    exam = pipeline.evaluate(name, str(directory), folder=folder / f"{name}_exam")
    return measure(directory, exam)

whole_way = paths["dDPO, chapter 05"]
paths["dDPO, chapter 05"] = [
    start, *map(part_of_the_way, (1 / 3, 2 / 3)), whole_way[-1]
]
parts = ("dSFT", "a third of the way", "two thirds", "dDPO, chapter 05")
show(dict(zip(parts, paths["dDPO, chapter 05"], strict=True)))

# %%
fig = figures.frontier(
    paths, {"grade": "mean grade, 1 to 10", "right": "share of right answers"}
)
figures.show(
    fig,
    alt="Grade and share of right answers against KL from dSFT; ends: " + "; ".join(
        f"{name} KL {path[-1]['kl']:.2f}, grade {path[-1]['grade']:.2f}, right "
        f"{100 * path[-1]['right']:.0f} %" for name, path in paths.items()
    ),
    caption="Grade and share of right answers in the exam against the KL divergence "
    f"from dSFT: {ROUNDS} rounds of {PROMPTS} prompts, {SAMPLES} answers each, seed "
    f"{seed}.",
)

# %% [markdown]
# ```{admonition} What you should see
# :class: note
# Every round's first loss is ln 2. KL grows with the rounds or levels off: the next cell says which, method by method.
# In every round the chosen answers are rated too high, an answer at random is not. The mean self-reward lies below zero, being minus a divergence. The rest depends
# on seed and size. With one learning rate for all, methods end at different KL: compare them where their lines reach
# the same KL, and do not rank them by one seed: *Over eight replications*, below, has the range of single seeds, claim
# by claim.
# ```

# %%
for name in made:
    by_round = [point["kl"] for point in paths[name][1:]]
    grows = all(late > early for early, late in itertools.pairwise(by_round))
    print(f"{name:14s} KL by round:", ", ".join(f"{kl:.2f}" for kl in by_round),
          "(grows with each)" if grows else "(does not grow with each)")
print("optimism by round:", ", ".join(f"{row['optimism']:.2f}" for row in noise))
for each in firsts:
    assert abs(each - math.log(2)) < 1e-3, (
        "a round does not begin at its reference: merge the adapter before the next one"
    )
if miniature_as_shipped:
    assert last["kl"] > 0.05, (
        "the policy has hardly moved: raise the learning rate, or PROMPTS"
    )
    assert last["grade"] > start["grade"], (
        "rounds lower the grade: look at the reversed pairs, then at the learning rate"
    )
    assert noise[0]["optimism"] > 0, "the first judging chose, so it should be too high"
    assert self_path[0]["self-reward"] < 0, (
        "over a model's own answers the mean self-reward is minus a KL divergence"
    )

# %% [markdown]
# ### The papers beside ours
#
# | | published | here |
# |---|---|---|
# | iterative DPO, AlpacaEval 2, length-controlled (%) | 15.41, then 20.53, 22.12, 22.19 (SELM, table 1); Zephyr-7B-beta 13.2 | grade and right answers per round, above |
# | SELM | 20.52, 21.84, 24.25 (the same table); α 0.001, β 0.01 | α 0.1, β 0.1 |
# | SPPO, from Mistral-7B-Instruct-v0.2 | 17.11, then 24.79, 26.89, 28.53 (its table 1); its own iterative DPO 24.23 at best | from the miniature's dSFT |
# | SPPO's η | 1,000, with a learning rate of 5e-7 | 10, with a learning rate that was searched for DPO |
# | self-rewarding | AlpacaEval 2, raw: 9.94, then 15.38, 20.44 (Llama 2 70B, its three iterations, from summaries) | our reading, from a model that was not taught to judge |
# | answers to a prompt | 5 (SPPO); one, beside the data set's two (SELM) | 5 |
# | sampling | temperature 1.0 in SPPO's paper, 0.7 in its code; greedy (SELM) | 1.0 |
# | judge | PairRM, 0.4 B | a noisy teacher by rule |
# | prompts | each round a share of its own | the same |
#
# ```{admonition} Errata of the sources
# :class: note dropdown
# - SPPO's paper samples at temperature 1.0 with top-p 1.0 and plans 18 epochs, of which it keeps the model after the
#   first, so that by our computation the learning rate is still rising there. Its code samples at 0.7 with top-p 0.9 and runs one epoch, with
#   RMSprop. Its "test" split is 500 rows drawn from the training set.
# - SPPO argues for preferences that need not be transitive. Its code takes $\sigma$ of the difference of two scores,
#   one per answer, and such preferences always are.
# - SELM's Algorithm 1 leaves out the $\beta$ before the term, which equation 4.2 and the code have. Its script for
#   feedback prints every exception and goes on, so that a round whose judging failed trains on the last one's data.
# - SELM measures the released dSFT model at 5.30 in MT-Bench; Zephyr's Table 3 has 6.64 ([errata](../errata)).
# ```
#
# At dDPO's learning rate a round of so few steps does not move the model. Rates were tried on development questions
# that no exam asks; each result stands beside the chosen one in `zephyr_utils/recipes/miniature/online.yaml`. SPPO
# and SELM take iterative DPO's.
#
# ```{admonition} Common mistakes
# :class: warning
# - **dSFT kept as reference in every round.** The log-ratios of round two then begin far from zero, and the first
#   loss is not ln 2. The package refuses such a start.
# - **Prompts used twice.** The model was trained on answers to them, so new samples are less varied.
# - **Answers that were cut off.** Chosen once, they teach to end in mid-sentence; the package leaves them out and
#   counts them.
# - **A judge's failure read as a low rating.** Whatever makes the judge fail is then trained away.
# - **Progress read off the ratings that chose.** They are too high by construction; ask again, or another judge.
# - **An offline control with fewer steps.** Most of a gain can be the steps.
# - **SPPO's loss on a data set's pairs.** Without own samples and win rates it is another method
#   ([errata](../errata), smaller ones).
# - **K = 1.** There is no pair; the package says so before it samples.
# - **A self-reward that rises.** It does so as asking comes to change less, whether or not answers get better; only
#   another judge can say.
# ```

# %% [markdown]
# ## With other seeds
#
# What would another seed have shown? The whole chapter again with several seeds, each of which draws records, trainings and
# samples of its own; all are differences of grades.

# %% tags=["remove-input"]
lessons.predict(
    "How many of these differences keep their sign with every seed?",
    ["fewer than half", "half or more, but not all", "all"],
    key="seeds",
)

# %% tags=["hide-input", "hide-output"]
metrics = {
    "first_loss": max(firsts),
    "dpo_grade_gain": gain["grade"],
    "dpo_right_gain": gain["right"],
    "dpo_kl": last["kl"],
    "dpo_minus_offline": over.mean,
    "offline_right_gain": rival["right"] - start["right"],
    "sppo_minus_dpo": differences["SPPO"].mean,
    "selm_minus_dpo": differences["SELM"].mean,
    "optimism": noise[0]["optimism"],
    "circle_mean": circle_mean,
    "self_reward_first": self_path[0]["self-reward"],
    "self_agreement": self_path[0]["agreement"],
    "self_ahead": self_path[-1]["ahead"],
    "self_grade_gain": end["grade"] - start["grade"],
    "self_right_gain": end["right"] - start["right"],
}
by_seed = {
    "dpo_grade_gain": "iterative DPO over dSFT",
    "dpo_minus_offline": "iterative minus offline DPO",
    "sppo_minus_dpo": "SPPO minus iterative DPO",
    "selm_minus_dpo": "SELM minus iterative DPO",
    "self_grade_gain": "self-rewarding over dSFT",
}
display(Markdown(chapter_seeds.seeds_table(folder.name, by_seed, metrics, seed)))

# %% tags=["remove-input"]
text, kept = chapter_seeds.sign_changes(folder.name, by_seed)
lessons.explain(text, key="seeds", answer=kept)

# %% [markdown]
# ## Over eight replications
#
# `make methods` trains the offline control, iterative DPO, SPPO and SELM in eight replications,
# each with records, exam and training from a seed of its own. Rows, claims and margins were fixed beforehand
# (`benchmarks/protocol-methods.md`). [Chapter 08](08_ablations) explains the verdicts; the column *80 % power* has
# the smallest difference that one such comparison finds four times in five.

# %% tags=["remove-input"]
lessons.predict(
    "Take the replications one by one. In how many of the claims below do *all* of "
    "them agree which of the two is ahead?",
    ["in fewer than half", "in half or more, but not in all", "in all"],
    key="replications",
)

# %% tags=["hide-output"]
study = replications.family_results("sampling again")
display(Markdown(replications.family_table(study)))

# %% tags=["remove-input"]
this_seed = {
    "iterative_beats_offline": over.mean,
    "sppo_beats_iterative": differences["SPPO"].mean,
    "selm_beats_iterative": differences["SELM"].mean,
}
lessons.explain(
    replications.one_seed_beside(study, this_seed)
    + "\n\nThe settings differ as well. A round of the study has "
    f"{study_rounds.PROMPTS} prompts, here {PROMPTS}. Each of its methods has a "
    "learning rate that was searched for it; here SPPO and SELM take iterative DPO's. "
    f"Its $\\alpha$ is the paper's {OnlineObjective('selm').alpha:g}.",
    key="replications",
    answer=replications.unanimity(study),
)

# %% [markdown]
# ## Your turn with your own data
#
# The loop needs prompts and a judge, no answers. `zephyr online --feedback YOUR_FILE` takes the prompts of your file;
# the miniature's judge rates only those of its own world. So name another: `--reward-model DIRECTORY` (chapter 10
# leaves one), or `--judge NAME --base-url URL` for a model behind an endpoint. Here in the chapter, replace `rate` by a
# function that fills in `annotations`; `dpo_round` stays as it is.
#
# Then check: is each round's first loss ln 2? How many prompts were set aside as tied, and does their share grow?
# Does KL per round stay small? Does the gain remain when another judge grades? Do answers grow longer each round?

# %% [markdown]
# ## Recap
#
# 1. *Whose answers*: [nats per token](ex-11-whose) beside the model's own; it hardly says any more what its pairs
#    reject, and its own weak answers are in no pair.
# 2. *The loop*: [a round's pair](ex-11-pair); the last round's model is start and reference, ln 2 is the check.
# 3. *Objectives*: [win rates](ex-11-win-rates), equations {eq}`eq-11-sppo` and {eq}`eq-11-selm`; the same first
#    answers, a control with as many steps, everything against KL.
# 4. *Noise*: [a judge's optimism](ex-11-optimism), seen only by asking again; beside it, round by round, how many pairs
#    are truly equal or reversed.
# 5. *Cycles*: [self-play](ex-11-self-play) by equation {eq}`eq-11-game`; the mean stays, the last policy turns.
# 6. *Its own judge*: equation {eq}`eq-11-self-reward`; what asking changes is learned, and no fact; test it before
#    training, and follow [how far its opinion runs ahead](ex-11-ahead).
#
# ## References
#
# - {cite:t}`wu2024sppo`: self-play with win rates. {cite:t}`zhang2024selm`: SELM, and rounds of plain DPO from
#   Zephyr's dSFT model.
# - {cite:t}`yuan2024selfrewarding`: a model that judges its own answers. {cite:t}`xu2024justsay`: preference data by
#   prompting alone.
# - {cite:t}`rafailov2023dpo`: the loss of every round. {cite:t}`bradley1952rank`: preferences from one score per
#   answer.

# %% tags=["remove-cell"]
artefacts.write_metrics(folder, metrics)
