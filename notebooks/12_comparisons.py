# %% [markdown]
# # What else a comparison can teach
#
# dDPO takes one bit from each pair: which of two answers is better. A comparison can give more, and cost less. How
# *much* better is the chosen answer? What lies beyond the point where training stopped? What does a teacher know that
# its texts do not say? Are demonstrations comparisons, too? What does a judge go by? And must the policy be changed
# at all? Six short answers, each with its loop in the cells, each graded by the teacher of our miniature world, who
# knows what is right.

# %% [markdown]
# ## What you will be able to do
#
# 1. Use the strength of a preference in dDPO, and tell whether it helped.
# 2. Move along the line from dSFT to dDPO without training, and know when going beyond its end helps.
# 3. Distil a model's logits, beside its texts at equal tokens, and say what the logits add.
# 4. Make preference pairs from demonstrations alone, and say how far such pairs can lead.
# 5. Read off from a judge's choices what it goes by.
# 6. Train a flow that moves answers instead of weights, in two dimensions, and say what it is not.

# %% [markdown]
# ## Set-up
#
# Three folded cells load the package, set the parameters (`preferences` takes your own pairs) and import what
# follows.

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
import copy
import dataclasses
import itertools
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F
import trl
from IPython.display import Markdown, display

from zephyr_utils import (
    chat, evaluation, exercises, figures, lessons, objectives, online, rewards,
    training,
)
from zephyr_utils.ablations.methods import replication as study_settings
from zephyr_utils.ablations.methods.catalogue import METHODS
from zephyr_utils.lessons import chapter_seeds, replications
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"
folder = pipeline.folder / "12_comparisons"

# %% [markdown]
# Six numbers set how long the chapter takes: optimiser steps per training and rows per step, rounds of self-play,
# held-out prompts on which each model is measured and answers to each, and held-out prompts whose answers are
# dissected.

# %%
STEPS, BATCH, ROUNDS = 40, 16, 4
ASKED, SAMPLES = 96, 2
DISSECTED = 300
BETA = pipeline.recipe("ddpo")["beta"]

# %% [markdown]
# ## One loop for all
#
# Two models exist already: dSFT, which everything starts from and is measured against, and dDPO.

# %%
sft_model, sft_key = pipeline.start()
reference, tokenizer = chat.load_model(sft_model, "float32")
aligned, _ = chat.load_model(pipeline.model_directory("ddpo"), "float32")
train, held_out, row_counts = pipeline.split_pairs()
prompts = list(dict.fromkeys(row["prompt"] for row in train))
asked = list(dict.fromkeys(row["prompt"] for row in held_out))[:ASKED]
print(row_counts.report())

# %% [markdown]
# A row is a conversation's tokens and the place where its answer begins. Everything rests on log-probabilities of
# answers.

# %%
def message(role, content):
    return {"role": role, "content": content}

def row_of(conversation):
    start = chat.encode_prompt(tokenizer, conversation[:-1])
    return chat.encode(tokenizer, conversation)[0], len(start)

def padded(rows):
    width = max(len(tokens) for tokens, _ in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full_like(ids, objectives.IGNORE_INDEX)
    for n, (tokens, start) in enumerate(rows):
        ids[n, : len(tokens)] = torch.tensor(tokens)
        labels[n, start : len(tokens)] = ids[n, start : len(tokens)]
    return ids, labels

# %% [markdown]
# Their sum over each answer's tokens, with gradients for a policy in training, without for a fixed model:

# %%
def log_probs(model, rows):
    ids, labels = padded(rows)
    return objectives.sequence_log_probs(model(input_ids=ids).logits, labels)

@torch.no_grad()
def fixed_log_probs(model, rows, at_once=64):
    starts = range(0, len(rows), at_once)
    return torch.cat([log_probs(model, rows[n : n + at_once]) for n in starts])

# %% [markdown]
# The package gives the same:

# %%
texts = [row["chosen"] for row in train[:8]]
ours = fixed_log_probs(reference, [row_of(text) for text in texts])
package = training.answer_log_probs(reference, tokenizer, texts)
print(f"largest difference: {(ours - package).abs().max():.1e} nats")
assert torch.allclose(ours, package, atol=1e-2)

# %% [markdown]
# All parts that train a model share one loop, with a short warm-up and a linear decay, over all weights. They differ
# in the loss, a function of the policy and of the step's number.

# %%
def fit(start, steps, loss_of, rate=3e-4):
    policy = copy.deepcopy(start)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=rate, weight_decay=0.0)
    for step in range(steps):
        warm, left = min(1, (step + 1) / 4), 1 - step / steps
        optimiser.param_groups[0]["lr"] = rate * warm * left
        loss = loss_of(policy, step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
    return policy

def places(count, step):
    return [(step * BATCH + n) % count for n in range(BATCH)]

# %% [markdown]
# Every model is measured on the same prompts with the same random draws: the teacher's grade, the share of right
# answers, the KL divergence from dSFT on the model's own answers, and their length.

# %%
judge = pipeline.setting.exam.judge()

def grade(prompt, answer):
    question = {"question_id": prompt, "category": "", "turns": [prompt]}
    return judge.grade(question, [answer], 1).score

# %% [markdown]
# Answers are sampled at temperature 1 and kept as the tokens drawn, since encoding their text again need not give the
# same.

# %%
def sample(model, prompts, samples, seed):
    return online.sample_answers(
        model, prompts, samples, tokenizer=tokenizer, max_new_tokens=64, seed=seed
    )

def sampled_rows(prompts, answers):
    for prompt, group in zip(prompts, answers, strict=True):
        start = chat.encode_prompt(tokenizer, [message("user", prompt)])
        yield from ((start + one.token_ids, len(start)) for one in group)

# %% [markdown]
# The KL divergence is estimated on the model's own samples, whose log-probabilities the sampler has kept.

# %%
def measure(model):
    answers = sample(model, asked, SAMPLES, seed + 1)
    each = [one for group in answers for one in group]
    graded = np.array([
        [grade(prompt, one.text) for one in group]
        for prompt, group in zip(asked, answers, strict=True)
    ])
    before = fixed_log_probs(reference, list(sampled_rows(asked, answers)))
    own = torch.tensor([one.log_prob for one in each])
    return {
        "grades": graded.mean(axis=1),  # one per prompt
        "right": (graded >= judge.right_from).mean(),
        "kl": objectives.kl_estimate(own, before).mean().item(),
        "tokens": np.mean([one.n_tokens for one in each]),
    }

def report(models):
    display(Markdown(markdown_table(
        ("model", "grade", "right", "KL", "tokens"),
        [
            (
                name, f"{one['grades'].mean():.2f}", f"{100 * one['right']:.0f} %",
                f"{round(one['kl'], 2) + 0:.2f}", f"{one['tokens']:.1f}",
            )
            for name, one in models.items()
        ],
        numbers=range(1, 5),
    )))

# %%
reached = {"dSFT": measure(reference), "dDPO": measure(aligned)}
report(reached)
assert abs(reached["dSFT"]["kl"]) < 0.1

# %% [markdown]
# ## The strength of a preference
#
# A judge's scores also say by how much an answer is better. HelpSteer2-Preference
# {cite:p}`wang2024helpsteer2preference` asked people for a strength $s$ of 1, 2 or 3. [Chapter 10](10_reward_models)
# put it into a reward model's loss; with dDPO's implicit reward in the reward's place it enters dDPO's. With
# $d = \beta (h_w - h_l)$, where $h$ is the log-ratio to dSFT, $w$ marks the chosen answer and $l$ the rejected one:
#
# $$
# \begin{aligned}
# L_\mathrm{regular} &= -\log \sigma(d), \\
# L_\mathrm{margin} &= -\log \sigma(d - s), \\
# L_\mathrm{scaled} &= -s \log \sigma(d) .
# \end{aligned}
# $$ (eq-12-strength)
#
# What does a strength do to a training step? Each loss pulls $d$ upwards, with a force of $-\partial L / \partial d$.

# %% [markdown]
# ````{exercise} The pull of a pair
# :label: ex-12-pulls
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `pulls(d, strength, kind)`, two tensors with one entry per pair, and `kind`, one of `"regular"`, `"margin"` and
# `"scaled"`. Return $-\partial L / \partial d$ of each pair's loss in {eq}`eq-12-strength`, one number per pair.
# ````

# %% tags=["exercise"]
def pulls(d, strength, kind):
    ...


exercises.check_pulls(pulls)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# The derivative of $-\log \sigma(z)$ by $z$ is $-\sigma(-z)$. What is $z$ in each loss, and what stands in front?
# ```

# %% [markdown]
# `````{solution} ex-12-pulls
# :class: dropdown
# ```python
# def pulls(d, strength, kind):
#     if kind == "margin":
#         return torch.sigmoid(strength - d)
#     return torch.sigmoid(-d) * (strength if kind == "scaled" else 1)
# ```
# `````

# %% [markdown]
# For a fair comparison the strengths have a mean of 1: *scaled* would otherwise be a larger learning rate. And $d$
# moves by a few tenths in a run this short, so the margins have to be of that size, too.

# %%
few = [train[n % len(train)] for n in range(STEPS * BATCH)]
pairs = {
    side: [row_of(row[side]) for row in few] for side in ("chosen", "rejected")
}
known = {side: fixed_log_probs(reference, rows) for side, rows in pairs.items()}
weight = rewards.preference_strengths(few, rewards.strength_cuts(train))
weight = torch.tensor(weight / weight.mean()).float()
strengths = {"regular": None, "margin": 0.3 * weight, "scaled": weight}

# %%
def pair_loss(pairs, known, kind="regular", strength=None):
    def loss(policy, step):
        at = places(len(pairs["chosen"]), step)
        rows = [pairs[side][n] for side in ("chosen", "rejected") for n in at]
        chosen, rejected = log_probs(policy, rows).chunk(2)
        return objectives.bradley_terry_dpo_loss(
            chosen, rejected, known["chosen"][at], known["rejected"][at], BETA,
            strength=None if strength is None else strength[at], kind=kind,
        )

    return loss

# %% [markdown]
# Before the first step $d$ is 0, so equation {eq}`eq-12-strength` gives all three first losses.

# %%
at = places(len(few), 0)
expected = {
    "regular": np.log(2),
    "margin": F.softplus(strengths["margin"][at]).mean().item(),
    "scaled": weight[at].mean().item() * np.log(2),
}
for kind, strength in strengths.items():
    with torch.no_grad():
        first = pair_loss(pairs, known, kind, strength)(reference, 0).item()
    print(f"{kind:8s} first loss {first:.4f}, by the equation {expected[kind]:.4f}")
    assert abs(first - expected[kind]) < 1e-3

# %% [markdown]
# And your function gives the pulls of all pairs at the start. A mean pull above that of *regular* acts as a larger
# learning rate. The share of the pull that the strongest pairs receive says how much a loss uses the strength.

# %%
pulls = exercises.yours(pulls, exercises.check_pulls)
strongest = weight == weight.max()
print(f"the strongest pairs are {100 * strongest.float().mean():.0f} % of all")
for kind, strength in strengths.items():
    each = pulls(torch.zeros(len(few)), weight if strength is None else strength, kind)
    print(
        f"{kind:8s} mean pull {each.mean():.3f}, "
        f"to the strongest pairs {100 * each[strongest].sum() / each.sum():.0f} % of it"
    )

# %% [markdown]
# Afterwards, did the strength help? Two objectives are compared with *regular*, and one of two looks like a gain by
# chance more often than one alone. So that both together mislead in at most 5 % of such studies, each gets 2.5 %.

# %% [markdown]
# ````{exercise} Did it help?
# :label: ex-12-helped
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `helped(gains, tries)`. `gains` is an array: for each prompt, the grade with the strength minus the grade
# without. `tries` says how many objectives were compared with the same rival. Return `"helped"` or `"harmed"` if the
# interval around the mean gain leaves out zero, else `"cannot tell"`. The interval reaches $z$ standard errors to
# either side, $z$ being the normal distribution's quantile at $1 - 0.05 / (2 \cdot \mathrm{tries})$, 1.96 for one try.
# ````

# %% tags=["exercise"]
def helped(gains, tries):
    ...  # "helped", "harmed" or "cannot tell"


exercises.check_helped(helped)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Two questions: is the mean further from zero than the interval reaches, and on which side is it? More tries make the
# interval longer.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `NormalDist().inv_cdf(0.975)` is 1.96; 0.975 is $1 - 0.05 / 2$. The standard error of a mean is `np.std(gains, ddof=1)`,
# divided by the root of the number of gains. Compare their product with `abs(gains.mean())`.
# ```

# %% [markdown]
# `````{solution} ex-12-helped
# :class: dropdown
# ```python
# def helped(gains, tries):
#     error = np.std(gains, ddof=1) / np.sqrt(len(gains))
#     reach = NormalDist().inv_cdf(1 - 0.05 / (2 * tries)) * error
#     if abs(gains.mean()) <= reach:
#         return "cannot tell"
#     return "helped" if gains.mean() > 0 else "harmed"
# ```
# To divide the 5 % by the number of tries is Bonferroni's correction; [chapter 08](08_ablations) has Holm's, which
# finds a little more.
# `````

# %% tags=["remove-input"]
lessons.predict(
    "Same pairs, same order, same steps. In how many of *margin* and *scaled* does the "
    "grade differ from that of *regular* by more than chance allows?",
    ["neither", "one", "both"],
    key="strength",
)

# %% tags=["hide-output"]
verdict_on = exercises.yours(helped, exercises.check_helped)
policies, against_regular, verdicts = {}, {}, {}
for kind, strength in strengths.items():
    policies[kind] = fit(reference, STEPS, pair_loss(pairs, known, kind, strength))
    reached[kind] = measure(policies[kind])
report({kind: reached[kind] for kind in strengths})
for kind in ("margin", "scaled"):
    against_regular[kind] = evaluation.paired_difference(
        reached[kind]["grades"], reached["regular"]["grades"]
    )
    gains = reached[kind]["grades"] - reached["regular"]["grades"]
    verdicts[kind] = verdict_on(gains, len(strengths) - 1)
    print(f"{kind} minus regular, prompt by prompt: {against_regular[kind]}")
    print(f"    verdict, two objectives being tried: {verdicts[kind]}")

# %% tags=["remove-input"]
told_apart = sum(word != "cannot tell" for word in verdicts.values())
lessons.explain(
    f"{told_apart} of two: "
    + " and ".join(
        f"{one.mean:+.2f} for *{kind}*, from {one.low:+.2f} to {one.high:+.2f}, "
        f"*{verdicts[kind]}*" for kind, one in against_regular.items()
    )
    + ". In the paper, three such runs of DPO reached "
    f"{lessons.published('8.66, 8.58 and 8.74', 'MT-Bench, arXiv 2410.01257')}"
    " for regular, margin and scaled, and by AlpacaEval they differ by less than their "
    "errors; for reward models it finds more for *scaled* (chapter 10). A strength "
    "that is read off noisy scores is itself noisy. One seed.",
    key="strength",
    answer=told_apart,
)

# %% [markdown]
# ## Further along the line
#
# Training moved the weights from $\theta_\mathrm{dSFT}$ to $\theta_\mathrm{dDPO}$. Continue in the same direction
# without training (ExPO, {cite:t}`zheng2024expo`):
#
# $$
# \theta(a) = \theta_\mathrm{dDPO} + a\, (\theta_\mathrm{dDPO} - \theta_\mathrm{dSFT}) .
# $$ (eq-12-expo)
#
# $a = 0$ is dDPO, $a = -1$ is dSFT, and between them lie models that nobody trained. dDPO trained an adapter, whose
# product was added to frozen weights. So the difference *is* the adapter, and equation {eq}`eq-12-expo` scales it by
# $1 + a$. Its rank shows this:

# %%
name = "model.layers.0.self_attn.q_proj.weight"
change = aligned.state_dict()[name] - reference.state_dict()[name]
sizes = torch.linalg.svdvals(change.float())
print(f"{name}: {tuple(change.shape)}, the adapter's rank is",
      pipeline.recipe("ddpo").get("lora_r"))
print(f"singular values above a thousandth of the first: "
      f"{(sizes > 1e-3 * sizes[0]).sum()} of {len(sizes)}")

# %% [markdown]
# ````{exercise} A model that nobody trained
# :label: ex-12-extrapolated
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `extrapolated(start, end, amount)`; `start` and `end` are dictionaries of weights by name. Return a dictionary
# with those of equation {eq}`eq-12-expo`.
# ````

# %% tags=["exercise"]
def extrapolated(start, end, amount):
    ...


exercises.check_extrapolated(extrapolated)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# A dictionary comprehension over the names, one line of arithmetic. Check your line at an amount of $0$ and of $-1$.
# ```

# %% [markdown]
# `````{solution} ex-12-extrapolated
# :class: dropdown
# ```python
# def extrapolated(start, end, amount):
#     return {name: end[name] + amount * (end[name] - start[name]) for name in end}
# ```
# `````

# %%
extrapolated = exercises.yours(extrapolated, exercises.check_extrapolated)

def along(end, amount):
    model = copy.deepcopy(end)
    weights = extrapolated(reference.state_dict(), end.state_dict(), amount)
    model.load_state_dict(weights)
    return model

# %% [markdown]
# The package's version agrees:

# %%
package = objectives.extrapolate_weights(
    reference.state_dict(), aligned.state_dict(), 0.5
)
ours = along(aligned, 0.5).state_dict()
assert all(torch.allclose(ours[name], package[name], atol=1e-6) for name in package)

# %% tags=["remove-input"]
lessons.predict(
    "Eight amounts from $-1$ to $1.5$: where does the highest mean grade lie on the "
    "line of our dDPO model?",
    [
        "beyond the end, above zero",
        "at the end or before it, at zero or below",
        "no difference that these prompts show",
    ],
    key="line",
)

# %% tags=["hide-output"]
AMOUNTS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.5)
there = {-1.0: reached["dSFT"], 0.0: reached["dDPO"]}  # measured already
line = {a: there.get(a) or measure(along(aligned, a)) for a in AMOUNTS}
report({f"dDPO, a = {amount:+.2f}": one for amount, one in line.items()})
at_zero = along(aligned, 0.0).state_dict()
for name, weight in aligned.state_dict().items():
    assert torch.allclose(at_zero[name], weight, atol=1e-6), "a = 0 has to be dDPO"

# %% tags=["hide-output"]
def best_of_line(line, prompts=slice(None)):
    return max(line, key=lambda amount: line[amount]["grades"][prompts].mean())

beyond, up_to_end = (
    best_of_line({a: one for a, one in line.items() if (a > 0) == further})
    for further in (True, False)
)
past_end = evaluation.paired_difference(
    line[beyond]["grades"], line[up_to_end]["grades"]
)
print(f"a = {beyond:+.2f} minus a = {up_to_end:+.2f}: {past_end}")

# %% tags=["remove-input"]
def summary(line, amount):
    one = line[amount]
    mean, right, kl = one["grades"].mean(), one["right"], one["kl"]
    return f"grade {mean:.2f}, right {100 * right:.0f} %, KL {kl:.1f}"

best, furthest = best_of_line(line), max(line)
lessons.explain(
    f"The best of these amounts is {best:+.2f} ({summary(line, best)}); dDPO itself "
    f"has {summary(line, 0.0)}, and {furthest:+.1f} has {summary(line, furthest)}, in "
    f"{line[furthest]['tokens']:.0f} tokens. The best amount beyond the end differs "
    f"from the best up to it by {past_end.mean:+.2f}, from {past_end.low:+.2f} to "
    f"{past_end.high:+.2f}. The weights move in a straight line, the "
    "model does not: the KL divergence grows faster and faster. "
    + (
        "Our dDPO has the learning rate that a search found best, which leaves little "
        "for a longer step to gain."
        if past_end.low <= 0
        else "Here a longer step still had something to gain."
    ),
    key="line",
    answer=0 if past_end.low > 0 else 1 if past_end.high < 0 else 2,
)

# %% [markdown]
# Is it the same for a model whose training was much shorter? *Regular* of the first part is one: it saw a fraction of
# the pairs.

# %% tags=["remove-input"]
lessons.predict(
    "For the short run *regular* we choose $a$ by the grade on every other prompt. On "
    "the *other* prompts, how does that model's grade compare with the short run's?",
    ["it is higher", "no difference that these prompts show", "it is lower"],
    key="short",
)

# %% tags=["hide-output"]
short_line = {
    a: measure(along(policies["regular"], a)) if a else reached["regular"]
    for a in (-0.5, 0.0, 0.5, 1.0, 1.5, 3.0)
}
report({f"regular, a = {amount:+.2f}": one for amount, one in short_line.items()})
short_best = best_of_line(short_line)
# chosen on every other prompt; the rest can then say what it is worth
chosen_amount = best_of_line(short_line, slice(0, None, 2))
expo_gain = evaluation.paired_difference(
    short_line[chosen_amount]["grades"][1::2], reached["regular"]["grades"][1::2]
)
print(f"best on every other prompt: {chosen_amount:+.2f}")
print(f"gain on the rest: {expo_gain}")

# %% tags=["remove-input"]
stored_expo = chapter_seeds.stored_values(folder.name, "expo_short_gain")
lessons.explain(
    f"The best amount on every other prompt is {chosen_amount:+.1f}; on the rest it "
    f"gains {expo_gain.mean:+.2f}, from {expo_gain.low:+.2f} to {expo_gain.high:+.2f}"
    + (", which may be chance. " if expo_gain.low <= 0 <= expo_gain.high else ". ")
    + f"On all prompts {short_best:+.1f} is best ({summary(short_line, short_best)}; "
    f"the best of {len(short_line)} looks too good on the prompts that chose it); the "
    f"short run itself has {summary(short_line, 0.0)}, and dDPO, with "
    f"{len(train) / len(few):.0f} times as many pairs, {summary(line, 0.0)}. "
    + (
        "In the stored seeds the rest gained "
        + ", ".join(f"{one:+.2f}" for one in stored_expo)
        + ". "
        if stored_expo
        else ""
    )
    + "*Over eight replications*, below, asks the same over seeds. Published, "
    "length-controlled, Zephyr-7B-beta from "
    f"{lessons.published('13.2 to 14.0 % at an amount of 0.1', 'AlpacaEval 2, card')}, "
    "Zephyr-7B-alpha from "
    f"{lessons.published('10.0 to 13.6 % at 0.3', 'the same, its own card')}.",
    key="short",
    answer=0 if expo_gain.low > 0 else 2 if expo_gain.high < 0 else 1,
)

# %%
fig, [left, right] = figures.figure(2, width=8.4)
for n, (name, points) in enumerate({"dDPO": line, "regular": short_line}.items()):
    drawn = figures.style.series_style(n)
    amounts, those = list(points), list(points.values())
    left.plot(amounts, [one["grades"].mean() for one in those], **drawn)
    right.plot(amounts, [one["right"] for one in those], label=name, **drawn)
for axes, words in ((left, "mean grade, 1 to 10"), (right, "share of right answers")):
    axes.set_xlabel("a (−1 is dSFT, 0 the trained model)")
    axes.set_ylabel(words)
right.legend(title="scaled change of")
figures.show(
    fig,
    alt=f"Grade and right answers against a. dDPO: best grade at {best:+.2f}, falling "
    f"to {line[furthest]['grades'].mean():.1f} at {furthest:+.1f}; the short run: best "
    f"at {short_best:+.1f}.",
    caption="Grade and share of right answers when the change that a training made to "
    f"the weights is scaled by 1 + a, on {len(asked)} held-out prompts.",
)

# %% [markdown]
# The slider *dDPO* under *Watch it learn* on the page [Talk to the models](../talk) goes on along this line, beyond the
# last step of the training, and the models there answer your own questions.

# %% [markdown]
# ## What a teacher knows beyond its texts
#
# *Distilled* in dSFT and dDPO means learning from what a teacher wrote or judged. The older meaning is learning from
# the teacher's probabilities {cite:p}`hinton2015distilling`. At each token of a text the teacher has a whole
# distribution $p_T$ over what could come next, of which the text shows one draw. With the student's $p_S$, the two
# losses at one token are
#
# $$
# \begin{aligned}
# L_\mathrm{text} &= -\log p_S(v), \quad v \sim p_T, \\
# L_\mathrm{logits} &= \mathrm{KL}(p_T \,\|\, p_S) = \sum_v p_T(v) \log \frac{p_T(v)}{p_S(v)} .
# \end{aligned}
# $$ (eq-12-distil)
#
# Averaged over the draw, the first is $-\sum_v p_T(v) \log p_S(v)$. It differs from the second by the teacher's
# entropy, which no student changes. So both have the *same* mean gradient; logits remove the noise of the draw. One
# distribution over five tokens shows both:

# %%
draw = torch.Generator().manual_seed(seed)
teacher, student = torch.randn(2, 5, generator=draw, dtype=torch.float64)
student.requires_grad_()
exact = torch.autograd.grad(
    objectives.distillation_loss(
        student.view(1, 1, 5).repeat(1, 2, 1), teacher.view(1, 1, 5).repeat(1, 2, 1),
        torch.tensor([[-100, 0]]),
    ), student,
)[0]
drawn = torch.multinomial(teacher.softmax(0), 20_000, True, generator=draw)
one_draw = student.softmax(0).detach() - F.one_hot(drawn, 5)  # (draws, 5) gradients
print("from the logits:      ", exact.numpy().round(3))
print("mean of 20,000 texts: ", one_draw.mean(0).numpy().round(3))
print("spread of one text:   ", one_draw.std(0).numpy().round(3))
assert torch.allclose(one_draw.mean(0), exact, atol=0.02)

# %% [markdown]
# ````{exercise} The loss of logit distillation
# :label: ex-12-token-kl
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `token_kl(student, teacher)`, both logits of shape (tokens, vocabulary). Return the mean over tokens of
# $\mathrm{KL}(p_T \,\|\, p_S)$, one number.
# ````

# %% tags=["exercise"]
def token_kl(student, teacher):
    ...


exercises.check_token_kl(token_kl)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# At each token the KL divergence is the teacher's mean of $\log p_T(v) - \log p_S(v)$. Logits are not yet
# log-probabilities.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `F.log_softmax(student, dim=-1)` and the same of the teacher, whose `.exp()` are the weights. Sum over the vocabulary,
# then mean over the tokens.
# ```

# %% [markdown]
# `````{solution} ex-12-token-kl
# :class: dropdown
# ```python
# def token_kl(student, teacher):
#     ours, theirs = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
#     return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()
# ```
# `````

# %% [markdown]
# The teacher is dDPO, the student dSFT: can what preferences taught be passed on without any preference? dDPO answers
# training prompts. On these texts one student learns the tokens (sequence-level distillation
# {cite:p}`kim2016sequence`, which dSFT is), the other the logits at the same places, in the same order.

# %%
token_kl = exercises.yours(token_kl, exercises.check_token_kl)
taught = prompts[: STEPS * BATCH]
lectures = list(sampled_rows(taught, sample(aligned, taught, 1, seed + 2)))
print(f"{sum(len(ids) - start for ids, start in lectures):,} tokens of answers")

# %%
def logits_at(model, rows):
    ids, labels = padded(rows)
    counts = labels[:, 1:] != objectives.IGNORE_INDEX
    return model(input_ids=ids).logits[:, :-1][counts], labels[:, 1:][counts]

def lecture(step):
    return [lectures[n] for n in places(len(lectures), step)]

def text_loss(policy, step):
    return F.cross_entropy(*logits_at(policy, lecture(step)))

def logit_loss(policy, step):
    with torch.no_grad():
        theirs, _ = logits_at(aligned, lecture(step))
    return token_kl(logits_at(policy, lecture(step))[0], theirs)

# %%
with torch.no_grad():
    ids, labels = padded(lectures[:4])
    package = objectives.distillation_loss(
        reference(input_ids=ids).logits, aligned(input_ids=ids).logits, labels
    )
    ours = token_kl(*(logits_at(m, lectures[:4])[0] for m in (reference, aligned)))
print(f"yours {ours:.5f}, package {package:.5f}")
assert abs(ours - package) < 1e-4

# %% tags=["remove-input"]
lessons.predict(
    "After the same steps on the same tokens: which student is closer to the teacher, "
    "in nats per token on held-out prompts?",
    ["the one on texts", "the one on logits", "neither, by less than a tenth"],
    key="logits",
)

# %% tags=["hide-output"]
lines_of_teacher = list(sampled_rows(asked, sample(aligned, asked, 1, seed + 3)))
theirs, _ = logits_at(aligned, lines_of_teacher)

@torch.no_grad()
def away(student):
    return token_kl(logits_at(student, lines_of_teacher)[0], theirs).item()

distance = {"dSFT": away(reference)}
for name, loss in (("texts", text_loss), ("logits", logit_loss)):
    student = fit(reference, STEPS, loss, rate=5e-4)
    distance[name] = away(student)
    reached[f"distilled, {name}"] = measure(student)
report({name: one for name, one in reached.items() if name.startswith("distilled")})
for name, value in distance.items():
    print(f"{name:6s} {value:.3f} nats per token from the teacher")

# %% tags=["remove-input"]
ratio = distance["logits"] / distance["texts"]
by_text, by_logits = reached["distilled, texts"], reached["distilled, logits"]
lessons.explain(
    f"From {distance['dSFT']:.3f} nats per token the texts led to "
    f"{distance['texts']:.3f} and the logits to {distance['logits']:.3f}; grades "
    f"{by_text['grades'].mean():.2f} and {by_logits['grades'].mean():.2f}, right "
    f"answers {by_text['right']:.0%} and {by_logits['right']:.0%}; the teacher has "
    f"{reached['dDPO']['grades'].mean():.2f} and {reached['dDPO']['right']:.0%}. The "
    "mean gradients are equal, so the difference is the noise of the draw, which more "
    "texts would reduce. But logits need the teacher at hand, run on every token, with "
    "the same vocabulary. Behind an endpoint there are only texts, as with Zephyr's "
    "teachers.",
    key="logits",
    answer=2 if 0.9 < ratio < 1.1 else 0 if ratio > 1 else 1,
)

# %% [markdown]
# TRL has this loss in `DistillationTrainer` and in `trl.experimental.gkd`, with two things reversed: the *student*
# samples the texts, and the divergence is $\mathrm{KL}(p_S \,\|\, p_T)$, as in on-policy distillation
# {cite:p}`agarwal2023gkd`. Its `beta` goes from 0, forward, to 1, reverse, and has nothing to do with DPO's. Its
# default, and both divergences of dSFT on the teacher's texts, in nats per token:

# %%
defaults = {one.name: one.default for one in dataclasses.fields(trl.DistillationConfig)}
print(f"{trl.DistillationTrainer.__name__} of TRL {trl.__version__}: "
      f"beta is {defaults['beta']:g} by default")
with torch.no_grad():
    both = [model(input_ids=ids).logits for model in (reference, aligned)]
for divergence in ("forward", "reverse"):
    value = objectives.distillation_loss(*both, labels, divergence)
    print(f"{divergence} divergence {value:.3f}")

# %% [markdown]
# ## Pairs without a judge
#
# A dialogue of dSFT becomes a comparison if the teacher's answer counts as better than the student's own. Self-play
# fine-tuning (SPIN, {cite:t}`chen2024spin`) makes such pairs: chosen is the demonstration $y$, rejected an answer
# $y'$ that the model sampled itself, and the model that sampled is the reference $\pi_t$:
#
# $$
# \begin{gathered}
# L = -\log \sigma \Big( \beta \log \frac{\pi(y)}{\pi_t(y)} - \beta \log \frac{\pi(y')}{\pi_t(y')} \Big), \\
# y \sim p_\mathrm{demo}, \quad y' \sim \pi_t .
# \end{gathered}
# $$ (eq-12-spin)
#
# That is dDPO's loss, without any judge, so its fair rival is *more supervised training*. Inverse reinforcement
# learning leads to the same loss: a reward that is high on demonstrations and low on the model's own answers, with
# $r = \beta \log \pi / \pi_t$. IRFT (implicit reward-learning fine-tuning, {cite:p}`li2024irft`) samples again several
# times on the way through the data, SPIN once. `zephyr online --method irft --rounds 4` does it with any dialogues.
#
# Where does it end? If $\pi_t = p_\mathrm{demo}$, both sides of a pair come from one distribution, no loss can tell
# them apart, and the mean gradient is zero: it stops at the demonstrations.

# %% [markdown]
# ````{exercise} Pairs from demonstrations
# :label: ex-12-demonstration-pairs
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `demonstration_pairs(prompts, demonstrations, answers)`: three lists, one entry per prompt; `answers` are the
# model's own. Return the list of `(prompt, chosen, rejected)`, in order. Leave out a pair whose two texts are equal,
# for its margin is always 0.
# ````

# %% tags=["exercise"]
def demonstration_pairs(prompts, demonstrations, answers):
    ...


exercises.check_demonstration_pairs(demonstration_pairs)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# `zip` keeps the three in step if you filter after it, not before.
# ```

# %% [markdown]
# `````{solution} ex-12-demonstration-pairs
# :class: dropdown
# ```python
# def demonstration_pairs(prompts, demonstrations, answers):
#     return [
#         (prompt, shown, own)
#         for prompt, shown, own in zip(prompts, demonstrations, answers)
#         if shown != own
#     ]
# ```
# `````

# %% [markdown]
# The first exchange of each training dialogue, each prompt once, and none that we measure on.

# %%
PLAYED = 15 * ROUNDS  # optimiser steps of each way in this part
shown = {}
for row in pipeline.split_dialogues()[0]:
    first, second = row["messages"][:2]
    usable = first["role"] == "user" and first["content"] not in asked
    if usable and len(shown) < PLAYED * BATCH:
        shown.setdefault(first["content"], second["content"])

# %% [markdown]
# Before training, look at both sides. Our teacher can grade them, which the method cannot.

# %%
own = {prompt: group[0].text for prompt, group in zip(
    shown, sample(reference, list(shown), 1, seed + 4), strict=True
)}
for prompt in list(shown)[:3]:
    print(f"{prompt}\n  chosen   {shown[prompt]}\n  rejected {own[prompt]}")

# %% [markdown]
# The teacher's grades, where the prompt belongs to its world:

# %%
def graded(texts):
    turns = (grade_turn([prompt], [text], 1) for prompt, text in texts.items())
    return np.array([one.score for one in turns if one is not None])

side_grades = {"demonstrations": graded(shown), "own answers": graded(own)}
for name, values in side_grades.items():
    print(f"{name}: mean grade {values.mean():.2f} of {len(values)} that can be graded")

# %%
demonstration_pairs = exercises.yours(
    demonstration_pairs, exercises.check_demonstration_pairs
)

# %% [markdown]
# A round samples answers to its own share of the prompts, pairs them with the demonstrations, and trains against the
# model that sampled. The closer the model is to the demonstrations, the less there is to tell the sides apart by.

# %%
def play_round(policy, part, steps):
    answers = [group[0].text for group in sample(policy, part, 1, seed + 4)]
    made = demonstration_pairs(part, [shown[one] for one in part], answers)
    assert made, "every answer equals its demonstration: nothing is left to learn"
    sides = {
        side: [row_of([message("user", row[0]), message("assistant", row[place])])
               for row in made]
        for place, side in ((1, "chosen"), (2, "rejected"))
    }
    before = {side: fixed_log_probs(policy, rows) for side, rows in sides.items()}
    gap = (graded({prompt: shown[prompt] for prompt in part}).mean()
           - graded(dict(zip(part, answers, strict=True))).mean())
    return fit(policy, steps, pair_loss(sides, before)), len(part) - len(made), gap

# %% [markdown]
# The best rated answer to each prompt of the feedback serves a rival below.

# %%
records = pipeline.load("feedback", "feedback").records
best_rated = {}
for record in records:
    if record["instruction"] not in asked and len(best_rated) < PLAYED * BATCH:
        top = max(record["completions"], key=lambda one: one["overall_score"] or 0)
        best_rated[record["instruction"]] = top["response"]

# %% [markdown]
# All methods below take the same number of optimiser steps, each training with its own warm-up and decay. IRFT
# samples in each round, SPIN once. The rival without a judge is further dSFT on the *same* demonstrations (*dSFT-2*); a
# second one, on the *best rated* of the feedback's four answers, does use a judge. All share one learning rate, which was
# not searched.

# %%
def supervised(texts):
    rows = [
        row_of([message("user", prompt), message("assistant", text)])
        for prompt, text in texts.items()
    ]

    def loss(policy, step):
        at = places(len(rows), step)
        return F.cross_entropy(*logits_at(policy, [rows[n] for n in at]))

    return measure(fit(reference, PLAYED, loss))

# %% tags=["remove-input"]
lessons.predict(
    f"Self-play in {ROUNDS} rounds (IRFT), or as many steps of fine-tuning on the "
    "answers that a judge rated best: after which is the grade higher?",
    ["self-play", "the best rated", "no difference that these prompts show"],
    key="spin",
)

# %% tags=["hide-output"]
policy, per_round, gaps, equal = reference, [], [], []
for n in range(ROUNDS):
    part = list(shown)[n::ROUNDS]
    policy, aside, gap = play_round(policy, part, PLAYED // ROUNDS)
    per_round.append(measure(policy))
    gaps.append(gap)
    equal.append(aside)
    print(f"{aside} of {len(part)} pairs equal; demonstrations ahead by {gap:+.2f}")
report({f"IRFT, round {n}": one for n, one in enumerate(per_round, start=1)})

# %% [markdown]
# The other methods, each in as many steps:

# %% tags=["hide-output"]
reached["IRFT"] = per_round[-1]
reached["SPIN"] = measure(play_round(reference, list(shown), PLAYED)[0])
reached["dSFT-2, demonstrations"] = supervised(shown)
reached["dSFT-2, best rated"] = supervised(best_rated)
ways = ("IRFT", "SPIN", "dSFT-2, demonstrations", "dSFT-2, best rated")
report({name: reached[name] for name in ("dSFT", *ways, "dDPO")})

# %%
irft_gain, irft_over, irft_best = (
    evaluation.paired_difference(reached["IRFT"]["grades"], reached[name]["grades"])
    for name in ("dSFT", "dSFT-2, demonstrations", "dSFT-2, best rated")
)
print(f"IRFT minus dSFT, prompt by prompt: {irft_gain}")
print(f"IRFT minus dSFT-2 on the same demonstrations: {irft_over}")
print(f"IRFT minus dSFT-2 on the best rated: {irft_best}")

# %% tags=["remove-input"]
gained = {
    name: reached[name]["grades"].mean() - reached["dSFT"]["grades"].mean()
    for name in (*ways, "dDPO")
}
by_round = [reached["dSFT"]["grades"].mean(), *(r["grades"].mean() for r in per_round)]
lessons.explain(
    f"- **Against a judge's choice.** IRFT changed the grade by {gained['IRFT']:+.2f} "
    f"(from {irft_gain.low:+.2f} to {irft_gain.high:+.2f}), the best rated by "
    f"{gained['dSFT-2, best rated']:+.2f}: a difference of {irft_best.mean:+.2f}, from "
    f"{irft_best.low:+.2f} to {irft_best.high:+.2f}. AI feedback knows the best of "
    f"*four* answers, and can lead beyond them: dDPO, with more pairs, changed it by "
    f"{gained['dDPO']:+.2f}.\n"
    "- **Against its fair rival,** dSFT on the same demonstrations "
    f"({gained['dSFT-2, demonstrations']:+.2f}): {irft_over.mean:+.2f}, from "
    f"{irft_over.low:+.2f} to {irft_over.high:+.2f}"
    + (", so this run cannot tell them apart" if irft_over.low <= 0 <= irft_over.high
       else "")
    + f". SPIN changed the grade by {gained['SPIN']:+.2f}.\n"
    f"- **Round by round,** from dSFT to round {ROUNDS}, the grades are "
    + ", ".join(f"{grade:.2f}" for grade in by_round)
    + ". The demonstrations' lead over the model's own answers is about what it can "
    f"gain: {gaps[0]:+.2f} at first, {gaps[-1]:+.2f} in the last round, when "
    f"{equal[-1]} pairs had equal sides (at first {equal[0]}). They teach their manner "
    "too, even where a curt one is chosen over the model's friendly answer.",
    key="spin",
    answer=0 if irft_best.low > 0 else 1 if irft_best.high < 0 else 2,
)

# %% [markdown]
# ## What a judge goes by
#
# A judge has chosen between many pairs of answers. What did it go by? Describe every answer by features $f_k$ (right?
# a full sentence? friendly? long?), let the reward be linear in them, and Bradley-Terry becomes a logistic regression
# on *differences* of features {cite:p}`li2024dissecting`:
#
# $$
# p(y_1 \succ y_2) = \sigma \Big( \sum_k w_k \big( f_k(y_1) - f_k(y_2) \big) \Big) .
# $$ (eq-12-dissect)
#
# There is no intercept: which answer comes first should not matter. Newton's method finds the weights: with the
# chances $p$ under the present weights, the gradient of the log-likelihood is $D^\top (c - p)$ and its curvature
# $D^\top \mathrm{diag}(p (1 - p))\, D$, where $D$ holds the differences and $c$ the choices.

# %% [markdown]
# ````{exercise} The weights behind the choices
# :label: ex-12-fit-weights
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# Write `fit_weights(differences, choices)`: `differences` is (comparisons, features), `choices` has 1 where the first
# answer was chosen, else 0. Return the weights, one per feature, by some 25 steps of Newton's method from zero.
# ````

# %% tags=["exercise"]
def fit_weights(differences, choices):
    ...


exercises.check_fit_weights(fit_weights)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Each step takes the chances $p$ under the present weights, from them gradient and curvature, and solves curvature times
# step = gradient. Both formulas are above, and only $p$ changes.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# One step: `weights + np.linalg.solve(curvature, gradient)`. For the curvature multiply each row of the differences by
# its $p (1 - p)$ first: `(chance * (1 - chance))[:, None]` has the shape for it.
# ```

# %% [markdown]
# `````{solution} ex-12-fit-weights
# :class: dropdown
# ```python
# def fit_weights(differences, choices):
#     weights = np.zeros(differences.shape[1])
#     for _ in range(25):
#         chance = 1 / (1 + np.exp(-differences @ weights))
#         gradient = differences.T @ (choices - chance)
#         spread = (chance * (1 - chance))[:, None]
#         curvature = (differences * spread).T @ differences
#         weights = weights + np.linalg.solve(curvature, gradient)
#     return weights
# ```
# `````

# %% [markdown]
# The answers are the feedback's four to each held-out prompt, on which dDPO was not trained. By the teacher's rule
# ([chapter 07](07_evaluation)) a right answer is worth 4 points more than a wrong one, a full sentence 2, each
# friendly word 1.5, these two only in a right answer. Length counts for nothing. *Complete*, too, is 1 only in right
# answers: the weight of *right* is then that of a right but *curt* answer over a wrong one, and a right full sentence
# has the weights of *right* and *complete* together.

# %%
FEATURES = ("right", "complete", "friendly", "friendly, wrong", "length")
held_prompts = list(dict.fromkeys(row["prompt"] for row in held_out))[:DISSECTED]
answers, outside = [], 0
for record in records:
    if record["instruction"] in held_prompts:
        for one in record["completions"]:
            turn = grade_turn([record["instruction"]], [one["response"]], 1)
            if turn is None:
                outside += 1
            else:
                answers.append((record["instruction"], one, turn))
print(f"{len(answers)} answers; {outside} to prompts of no such world set aside")

# %%
features = np.array([
    [turn.right, turn.complete, turn.friendly * turn.right,
     turn.friendly * (not turn.right), len(one["response"]) / 20]
    for _, one, turn in answers
], dtype=float)
for name, column in zip(FEATURES, features.T, strict=True):
    print(f"{name:16s} mean {column.mean():.2f}, spread {column.std():.2f}")

# %% [markdown]
# Length is in units of twenty characters. The same answers' log-probabilities under three models:

# %%
conversations = [
    row_of([message("user", prompt), message("assistant", one["response"])])
    for prompt, one, _ in answers
]
base, _ = chat.load_model(pipeline.model_directory("base"), "float32")
likelihood = {
    name: fixed_log_probs(model, conversations).numpy()
    for name, model in (("base", base), ("dSFT", reference), ("dDPO", aligned))
}

# %% [markdown]
# [Chapter 10](10_reward_models)'s reward model, trained on dDPO's pairs, is one more judge:

# %%
recipe = rewards.RewardRecipe(seed=seed, learning_rate=2e-3)

def make(where):
    rewards.train_reward_model(sft_model, train, where, recipe)
    return {"pairs": len(train)}

made = artefacts.build_artefact(
    pipeline.folder / "10_reward_models" / "regular",  # chapter 10's, if it has run
    inputs={"start": sft_key, "pairs": artefacts.fingerprint(train)},
    recipe=vars(recipe),
    make=make,
    code=["zephyr_utils.rewards.train"],
)
reward_model, _ = rewards.load_reward_model(made.folder / training.MODEL)

def reward_scores(texts):
    return rewards.score_answers(reward_model, tokenizer, [
        [message("user", prompt), message("assistant", text)] for prompt, text in texts
    ])

# %% [markdown]
# Now the judges, each a number per answer:
#
# - The rule plus Gumbel noise on each answer. Its choices follow Bradley and Terry exactly ([chapter 05](05_ddpo)),
#   so its weights are known: 4, 2 and 1.5.
# - Two from the feedback itself: the overall grade, and the mean of the four aspects, by which dDPO's pairs were made.
# - One made up, so that we know its bias: the overall grade plus half a point for every twenty characters.

# %%
def aspect_mean(one):
    return np.mean([float(aspect["Rating"]) for aspect in one["annotations"].values()])

noise = np.random.default_rng(seed).gumbel(size=len(answers))
overall = np.array([one["overall_score"] for _, one, _ in answers])
scores = {
    "rule with noise": noise + [turn.score for _, _, turn in answers],
    "overall grade": overall,
    "mean of aspects": np.array([aspect_mean(one) for _, one, _ in answers]),
    "leans to length": overall + 0.5 * features[:, 4],
    "reward model": reward_scores(
        (prompt, one["response"]) for prompt, one, _ in answers
    ),
    "dDPO, implicit reward": BETA * (likelihood["dDPO"] - likelihood["dSFT"]),
    "dDPO, likelihood": likelihood["dDPO"],
    "base, likelihood": likelihood["base"],
}

# %%
groups = itertools.groupby(range(len(answers)), key=lambda n: answers[n][0])
couples = np.array([
    couple for _, places_of in groups for couple in itertools.combinations(places_of, 2)
])

def choices_of(score):
    gaps = score[couples[:, 0]] - score[couples[:, 1]]
    decided = gaps != 0
    return differences[decided], (gaps[decided] > 0).astype(float), (~decided).sum()

differences = features[couples[:, 0]] - features[couples[:, 1]]
print(f"{len(couples)} comparisons of two answers to one prompt")

# %%
fit_weights = exercises.yours(fit_weights, exercises.check_fit_weights)
rows, choices, ties = choices_of(scores["rule with noise"])
ours = fit_weights(rows, choices)
package = rewards.dissect_choices(rows, choices, FEATURES)
print("yours  ", ours.round(3))
print("package", package.weights.round(3), f"; {ties} ties left out")
assert np.allclose(ours, package.weights, atol=0.1)

# %% [markdown]
# All weights, each with its standard error:

# %%
judges = {
    name: rewards.dissect_choices(*choices_of(score)[:2], FEATURES)
    for name, score in scores.items()
}

def show_weights(*names):
    rows = []
    for name in names:
        of_judge = zip(judges[name].weights, judges[name].standard_errors, strict=True)
        cells = (f"{weight:.2f} ± {error:.2f}" for weight, error in of_judge)
        rows.append((name, *cells))
    display(Markdown(markdown_table(
        ("judge", *FEATURES), rows, numbers=range(1, len(FEATURES) + 1)
    )))

# %% [markdown]
# First the judges:

# %% tags=["remove-input"]
lessons.predict(
    "By the rule a full sentence is worth half of what being right is worth. And in "
    "the *mean of aspects*, from the ratings of the same judge?",
    ["about half, too", "less than half", "more than half"],
    key="aspects",
)

# %% tags=["hide-output"]
show_weights("rule with noise", "overall grade", "mean of aspects", "leans to length")

# %% tags=["remove-input"]
weights = {
    name: dict(zip(FEATURES, one.weights, strict=True)) for name, one in judges.items()
}
by_rule, by_grade, by_aspects = (
    weights[name]["complete"] / weights[name]["right"]
    for name in ("rule with noise", "overall grade", "mean of aspects")
)
leans = weights["leans to length"]["length"] - weights["overall grade"]["length"]
lessons.explain(
    f"{by_aspects:.2f} of it, in the overall grade {by_grade:.2f}: most aspects ask "
    "for honesty, truth and following the instruction, and hardly see form. To pair "
    "answers by the mean of aspects, as Zephyr did, is to choose another judge than "
    "the overall grade. With Gumbel noise the rule's weights come out again: "
    f"{weights['rule with noise']['right']:.2f}, "
    f"{weights['rule with noise']['complete']:.2f} and "
    f"{weights['rule with noise']['friendly']:.2f}. The feedback's grades are rounded, "
    "end at ten and hold faulty tens (chapter 03), which lowers the largest weight. "
    f"The bias that we made up shows as {leans:+.2f} on length. Each answer is in "
    "three comparisons, so errors are larger than printed.",
    key="aspects",
    answer=0 if abs(by_aspects - 0.5) < 0.05 else 1 if by_aspects < 0.5 else 2,
)

# %% [markdown]
# ### Whose preferences does a model have after dDPO?
#
# The paper that did this for 32 models and for people, with 29 properties of answers to real questions, published its
# fitted weights, Zephyr's among them. Of three others, Zephyr-7B-β's weights are closest to those of Mistral-7B *base*
# (r = 0.88), less close to people's (0.62), and least to GPT-4's (0.47), whose preferences it was trained on. (Our computation
# from the weights in the repository of {cite:t}`li2024dissecting`, mean over its 11 scenarios.) So distilling GPT-4's
# preferences changed what Zephyr *writes*, hardly how it *judges* when asked which of two answers is better.
#
# Our models are too small to be asked. They have a likelihood and, after dDPO, an implicit reward, which was trained
# to choose as the mean of aspects does, as was the reward model.

# %% tags=["remove-input"]
lessons.predict(
    "In the ratings *right* has the largest weight. Which has it in the dDPO model's "
    "implicit reward?",
    ["right, too", "one of manner: complete or friendly", "length"],
    key="taste",
)

# %% tags=["hide-output"]
show_weights(*list(judges)[4:])
taste = {
    (name, other): judges[name].correlation(judges[other])
    for name in ("reward model", "dDPO, likelihood", "dDPO, implicit reward")
    for other in ("base, likelihood", "mean of aspects")
}
display(Markdown(markdown_table(
    ("weights of", "and of", "r"),
    [(*two, f"{r:+.2f}") for two, r in taste.items()],
    numbers=[2],
)))

# %% tags=["remove-input"]
implicit, taught = weights["dDPO, implicit reward"], weights["mean of aspects"]
largest, rewarded = max(implicit, key=implicit.get), weights["reward model"]
by_right = {  # over a wrong answer: a right but curt one, and a right full sentence
    name: f"{one['right']:+.2f} and {one['right'] + one['complete']:+.2f}"
    for name, one in weights.items()
}
lessons.explain(
    f"The largest is that of *{largest}*.\n\n"
    "- **Being right.** Over a wrong answer, a right but *curt* one and a right full "
    f"sentence weigh {by_right['mean of aspects']} for the judge that made the pairs, "
    f"{by_right['dDPO, implicit reward']} for dDPO, {by_right['reward model']} for the "
    "reward model, from the same pairs"
    + (
        ". So both learned to prefer a right answer where it shows as a full sentence"
        if all(
            one["right"] < one["complete"] and one["right"] + one["complete"] > 0
            for one in (implicit, rewarded)
        )
        else ""
    )
    + ".\n- **A friendly word** weighs "
    + ", ".join(
        f"{one['friendly']:.2f} in a right answer and {one['friendly, wrong']:.2f} in "
        f"a wrong one ({name})"
        for name, one in {
            "judge": taught, "dDPO": implicit, "reward model": rewarded
        }.items()
    )
    + ": a model can please a judge without judging like it.\n"
    "- **Correlation** of the weights with the judge's: "
    f"{taste['dDPO, implicit reward', 'mean of aspects']:+.2f} (implicit reward), "
    f"{taste['reward model', 'mean of aspects']:+.2f} (reward model), "
    f"{taste['dDPO, likelihood', 'mean of aspects']:+.2f} (likelihood, which is what "
    "dDPO says, not what it learned to prefer). Five weights are too few for it to "
    "mean much, and in the published study models were asked in words.",
    key="taste",
    answer={"right": 0, "length": 2}.get(largest, 1),
)

# %% [markdown]
# ## Moving answers instead of weights
#
# All methods so far change the policy. Preference flow matching {cite:p}`kim2024pfm` leaves it as it is and learns a
# vector field $v$ that carries a rejected answer $y^-$ to a chosen one $y^+$. Draw a time $t$ between 0 and 1, go
# that far along the straight line, add a little noise ($\sigma = 0.1$), and regress on the line's velocity:
#
# $$
# \begin{gathered}
# y_t = (1 - t)\, y^- + t\, y^+ + \sigma \epsilon, \\
# \min_v \; \mathbb{E} \, \big\| v(t, y_t) - (y^+ - y^-) \big\|^2 .
# \end{gathered}
# $$ (eq-12-flow)
#
# A fresh answer $y$ of the policy then moves to $y + \int_0^1 v\, dt$. A text is not a point in space, so here an answer
# is two numbers. The policy draws points from a normal distribution, and the reward, which the judge knows and the
# flow does not, is highest on a circle of radius 2.

# %%
drawn = torch.Generator().manual_seed(seed)

def point_reward(points):
    return -((points.norm(dim=-1) - 2) ** 2)

# %% [markdown]
# Pairs of the policy's answers, judged by the Bradley-Terry model:

# %%
couples = torch.randn(4096, 2, 2, generator=drawn)
gaps_of = point_reward(couples[:, 0]) - point_reward(couples[:, 1])
first_wins = torch.rand(4096, generator=drawn) < torch.sigmoid(gaps_of / 0.5)
better, worse = (
    torch.where(wins[:, None], couples[:, 0], couples[:, 1])
    for wins in (first_wins, ~first_wins)
)
for name, points_of in {"chosen": better, "rejected": worse}.items():
    print(f"{name:9s} mean reward {point_reward(points_of).mean():.2f}")

# %% [markdown]
# ````{exercise} A point on the way
# :label: ex-12-flow-pair
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `flow_pair(rejected, chosen, time, noise)`; `time` is (pairs,), the others (pairs, dimensions). Return two
# tensors of that shape: the points $y_t$ of equation {eq}`eq-12-flow`, and the velocities that $v$ should have there.
# ````

# %% tags=["exercise"]
def flow_pair(rejected, chosen, time, noise):
    ...


exercises.check_flow_pair(flow_pair)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# `time[:, None]` is a column, which multiplies each point by its own time.
# ```

# %% [markdown]
# `````{solution} ex-12-flow-pair
# :class: dropdown
# ```python
# def flow_pair(rejected, chosen, time, noise):
#     at = time[:, None]
#     return (1 - at) * rejected + at * chosen + 0.1 * noise, chosen - rejected
# ```
# `````

# %% [markdown]
# The field is a small network of time and place. Six hundred steps of Adam take two seconds.

# %%
flow_pair = exercises.yours(flow_pair, exercises.check_flow_pair)
torch.manual_seed(seed)  # a network's first weights are drawn
network = torch.nn.Sequential(
    torch.nn.Linear(3, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU(),
    torch.nn.Linear(64, 2),
)

# %%
def velocity(points, time):
    return network(torch.cat([time[:, None], points], dim=1))

# %% [markdown]
# Each step takes other pairs, times and noise:

# %%
adam, errors = torch.optim.Adam(network.parameters(), lr=3e-3), []
for _ in range(600):
    some = torch.randint(len(better), (256,), generator=drawn)
    time = torch.rand(256, generator=drawn)
    jitter = torch.randn(256, 2, generator=drawn)
    points_there, wanted = flow_pair(worse[some], better[some], time, jitter)
    error = (velocity(points_there, time) - wanted).square().sum(dim=1).mean()
    adam.zero_grad()
    error.backward()
    adam.step()
    errors.append(error.item())
print(f"squared error {errors[0]:.2f} at first, {np.mean(errors[-50:]):.2f} at the end")

# %% [markdown]
# The error cannot go to zero: many pairs' lines cross at one place and time, and the best field is the mean of their
# velocities. To move an answer, follow the field in forty small steps. The result can be moved again.

# %%
@torch.no_grad()
def carried(points, steps=40):
    for n in range(steps):
        time = torch.full((len(points),), (n + 0.5) / steps)
        points = points + velocity(points, time) / steps
    return points

# %% tags=["remove-input"]
lessons.predict(
    "Fresh answers of the policy are carried five times in a row. What does their mean "
    "reward do?",
    ["rises each time", "rises, then falls", "falls from the first time on"],
    key="flow",
)

# %% tags=["hide-output"]
passes = [torch.randn(2000, 2, generator=drawn)]
for _ in range(5):
    passes.append(carried(passes[-1]))
of_pass = [point_reward(points_of).mean().item() for points_of in passes]
for n, points_of in enumerate(passes):
    radius = points_of.norm(dim=1).mean()
    print(f"after {n} passes: reward {of_pass[n]:+.2f}, mean radius {radius:.2f}")

# %% tags=["remove-input"]
highest = int(np.argmax(of_pass))
chosen_reward = point_reward(better).mean().item()
lessons.explain(
    f"From {of_pass[0]:.2f} to {of_pass[1]:.2f} after one pass; {of_pass[highest]:.2f} "
    f"at best, after {highest}; {of_pass[-1]:.2f} after five. The pairs' chosen "
    f"answers have {chosen_reward:.2f}. "
    + (
        "The pairs show the first pass. Later ones begin where there were few rejected "
        "answers, and the field, which knows no reward, carries on past "
        f"the circle, to a mean radius of {passes[-1].norm(dim=1).mean():.1f} after "
        "five. The authors repeat it up to five times; how often is a setting to "
        "choose on held-out answers."
        if 0 < highest < 5
        else "Where it turns depends on the reward and on the pairs."
    ),
    key="flow",
    answer=0 if highest == 5 else 2 if highest == 0 else 1,
)

# %%
lattice = torch.cartesian_prod(*[torch.linspace(-3, 3, 13)] * 2)
with torch.no_grad():
    arrows = velocity(lattice, torch.full((len(lattice),), 0.5))
fig, [left, right] = figures.figure(2, width=8.4, height=4.2, sharex=True, sharey=True)
left.quiver(*lattice.T.numpy(), *arrows.T.numpy(), color=figures.style.INK, width=0.004)
for n, (which, words) in enumerate({0: "the policy's", highest: "carried"}.items()):
    style = figures.style.series_style(n) | {"linestyle": "none", "markersize": 3}
    some = passes[which][:250].T.numpy()
    right.plot(*some, label=f"{words}, {which} passes", **style)
for axes, words in ((left, "the field at t = 0.5"), (right, "250 answers")):
    axes.set_title(words)
    axes.set_xlabel("first number")
left.set_ylabel("second number")
figures.style.legend_below(fig)
figures.show(
    fig,
    alt="Left: the learned field, outward near the middle, inward far from it. Right: "
    f"answers of the policy about the middle, and after {highest} passes near a ring "
    f"of mean radius {passes[highest].norm(dim=1).mean():.1f}.",
    caption="Preference flow matching in two dimensions: the learned field, and answers"
    f" of the policy before and after {highest} passes through it, seed {seed}.",
)

# %% [markdown]
# What it is not: it aligns no model. The policy stays as it was and has to be run first; its answers are moved, one
# by one, in the space where the field was learned. For text the authors put an autoencoder around it that turns a
# short review into 1,024 numbers and back, so it is not a method for chat models yet. In their comparison on film
# reviews GPT-4 preferred the flow's texts to the reference's in 100 of 100 cases, and to PPO's in 2 (read off
# captions).

# %% [markdown]
# ## One figure for all
#
# Grade and right answers against KL from dSFT, for everything that began at dSFT. The lines are dDPO and the short
# run, scaled (on the way to dDPO this stands for a larger $\beta$, chapter 10), and the best of n by the reward model;
# every other method is a point.

# %%
drawn_here = sample(reference, asked, 8, seed + 5)
proxy = reward_scores(
    (prompt, one.text)
    for prompt, group in zip(asked, drawn_here, strict=True) for one in group
).reshape(len(asked), -1)
gold = np.array([
    [grade(prompt, one.text) for one in group]
    for prompt, group in zip(asked, drawn_here, strict=True)
])
best_of = rewards.best_of_n_curve(proxy, gold)  # (prompts, n)
best_right = rewards.best_of_n_curve(proxy, gold >= judge.right_from)
chosen_line = {
    n: {"kl": rewards.best_of_n_kl(n), "grades": best_of[:, n - 1],
        "right": best_right[:, n - 1].mean()}
    for n in range(1, 9)
}

# %%
def kl_of(one):
    return max(one["kl"], 0.0)

drawn_lines = {
    "dDPO, scaled": line, "regular, scaled": short_line,
    "best of n by reward model": chosen_line,
}
points = {
    name: reached[name]
    for name in ("margin", "scaled", *ways, "distilled, texts", "distilled, logits")
}
fig, [left, right] = figures.figure(2, width=9.0, height=4.0)
for axes, value in ((left, lambda one: one["grades"].mean()),
                    (right, lambda one: one["right"])):
    for n, (name, along_it) in enumerate(drawn_lines.items()):
        ordered = sorted(along_it.values(), key=kl_of)
        axes.plot([kl_of(one) for one in ordered], [value(one) for one in ordered],
                  label=name if axes is left else None, **figures.style.series_style(n))
    for n, (name, one) in enumerate(points.items(), len(drawn_lines)):
        style = figures.style.series_style(n) | {"linestyle": "none"}
        shown_as = name if axes is left else None  # one legend for both
        axes.plot([kl_of(one)], [value(one)], label=shown_as, **style)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlabel("KL from dSFT (nats per answer)")
left.set_ylabel("mean grade, 1 to 10")
right.set_ylabel("share of right answers")
figures.style.legend_below(fig)
figures.show(
    fig,
    alt="Grade and right answers against KL from dSFT: " + "; ".join(
        f"{name} at KL {one['kl']:.2f} has grade {one['grades'].mean():.2f}"
        for name, one in {**points, "dDPO": reached["dDPO"]}.items()
    ),
    caption="Grade and share of right answers against the KL divergence from dSFT "
    "(below 1 linear, above it logarithmic): all methods of this chapter, "
    f"{len(asked)} held-out prompts, seed {seed}.",
)

# %% [markdown]
# ```{admonition} What you should see
# :class: note
# All lines begin near dSFT on the left; best of n ends early. dDPO's rises to about dDPO itself and falls steeply
# beyond it, right answers with it. With seed 0 the short run's goes on rising beyond its own end. Whether such a gain
# holds over seeds is asked under *Over eight replications*, below, of another short run. *Margin* and *scaled* lie near
# the short run, since they had the same few pairs; the distilled models lie near dDPO, whose answers they learned. What
# comes from demonstrations alone has the demonstrations' own grade as its limit, and in so few steps stays below it.
# One pass of the flow raises the reward, and the fifth is past the best. Only dDPO's learning rate was searched, so
# points do not rank the methods; the ranges of single seeds are in *Over eight replications*, below, claim by claim.
# ```

# %%
far = line[furthest]["grades"].mean()
print(f"dDPO {reached['dDPO']['grades'].mean():.2f}, at a = {furthest:+.1f} {far:.2f}")
if miniature_as_shipped:
    assert far < reached["dDPO"]["grades"].mean(), (
        "a step far beyond the end does no harm: is the change added to dDPO's weights?"
    )
    assert distance["logits"] < distance["dSFT"], (
        "the student moved away from its teacher: look at the sign of the divergence"
    )
    assert 0.3 < by_rule < 0.7, (
        "a full sentence should weigh half of being right: are features and choices of "
        "the same answers?"
    )

# %% [markdown]
# ### The papers beside ours
#
# | | published | here |
# |---|---|---|
# | strength in DPO | MT-Bench 8.66 regular, 8.58 margin, 8.74 scaled (70 B, arXiv 2410.01257) | the table above, with intervals |
# | extrapolation | zephyr-7b-beta, a = 0.1: AlpacaEval 2, length-controlled, 13.2 to 14.0 % (its model card) | the line of dDPO, and of a run that stopped early |
# | self-play | SPIN, first iteration, from zephyr-7b-sft-full: mean of six tasks 62.86 (its model card) | SPIN and four rounds of IRFT, on grades |
# | IRFT on Zephyr | in an image of arXiv 2405.17888 that we could not read | not compared |
# | dissection | Zephyr-β with Mistral-7B base r = 0.88, with GPT-4 0.47 (weights of arXiv 2402.11296) | likelihood and implicit reward |
#
# ```{admonition} Errata of the sources
# :class: note dropdown
# - IRFT's published code samples the rejected answers under one chat template (`### Instruction:`) and trains on them
#   under another, Zephyr's, so chosen and rejected differ by more than who wrote them. Here both use one template.
# - In the dissection's published code, the slice of labels for a new model has a literal 10 where that of the
#   features has the number of folds.
# - Flow matching's README calls the rejected texts samples of the reference; the code pairs real reviews, sorted by a
#   classifier. Its exact matcher pairs them again within a batch, so the given pairs are not kept.
# ```
#
# ```{admonition} Common mistakes
# :class: warning
# - **Strengths with a mean above 1.** *Scaled* then wins or loses as a larger learning rate would.
# - **An amount chosen on the exam.** The best of eight values looks too good on the questions that chose it; grade
#   it on others.
# - **A sum of weights of two different bases.** Extrapolation goes between two states of *one* model.
# - **Logits of another tokenizer.** Places in the vocabulary mean other tokens there; the package refuses other
#   shapes, and equal shapes prove nothing.
# - **Cross-entropy with soft labels, read as a distance.** It ends at the teacher's entropy, not at 0.
# - **Self-play against an old model.** The reference has to be the model that sampled the rejected answers.
# - **Equal sides in a pair.** They cost time and teach nothing; count them, and watch their number grow.
# - **A weight taken for a cause.** Complete answers are longer ones; an omitted feature shows in those that
#   correlate with it.
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
    "expo_fall": far - reached["dDPO"]["grades"].mean(),
    "expo_best_amount": best,
    "expo_short_best_amount": short_best,
    "expo_short_gain": expo_gain.mean,
    "margin_minus_regular": against_regular["margin"].mean,
    "scaled_minus_regular": against_regular["scaled"].mean,
    "distance_texts": distance["texts"],
    "distance_logits": distance["logits"],
    "spin_gain": gained["SPIN"],
    "irft_gain": gained["IRFT"],
    "irft_minus_dsft_2": irft_over.mean,
    "demonstrations_ahead": gaps[0],
    "dsft_2_gain": gained["dSFT-2, demonstrations"],
    "best_rated_gain": gained["dSFT-2, best rated"],
    "flow_one_pass": of_pass[1] - of_pass[0],
    "flow_best_pass": highest,
    "complete_over_right_rule": by_rule,
    "complete_over_right_grade": by_grade,
    "complete_over_right_aspects": by_aspects,
    "friendly_over_right_aspects": taught["friendly"] / taught["right"],
    "implicit_right": implicit["right"],
    "implicit_friendly": implicit["friendly"],
}
by_seed = {
    "margin_minus_regular": "margin minus regular DPO",
    "scaled_minus_regular": "scaled minus regular DPO",
    "expo_short_gain": "ExPO's best amount after a short run",
    "spin_gain": "SPIN over dSFT",
    "irft_gain": "IRFT over dSFT",
    "irft_minus_dsft_2": "IRFT minus the second dSFT",
    "dsft_2_gain": "the second dSFT over dSFT",
    "best_rated_gain": "fine-tuning on the best rated, over dSFT",
}
display(Markdown(chapter_seeds.seeds_table(folder.name, by_seed, metrics, seed)))

# %% tags=["remove-input"]
text, kept = chapter_seeds.sign_changes(folder.name, by_seed)
lessons.explain(text, key="seeds", answer=kept)

# %% [markdown]
# ## Over eight replications
#
# `make methods` trains this chapter's methods except the flow in eight replications, each with
# records, exam and training from a seed of its own. Rows, claims and margins were fixed beforehand
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
study = replications.family_results("comparisons")
display(Markdown(replications.family_table(study)))

# %% tags=["remove-input"]
this_seed = {
    "scaled_dpo_beats_regular": against_regular["scaled"].mean,
    "margin_dpo_beats_regular": against_regular["margin"].mean,
    "self_play_adds": irft_gain.mean,
    "self_play_beats_dsft": irft_over.mean,
    "logits_beat_texts": by_logits["grades"].mean() - by_text["grades"].mean(),
    "expo_adds": line[0.25]["grades"].mean() - line[0.0]["grades"].mean(),
    "expo_adds_to_a_short_run": expo_gain.mean,
}
lessons.explain(
    replications.one_seed_beside(study, this_seed)
    + "\n\nThe settings differ as well. The study's trainings make "
    f"{study_settings.STEPS} steps, here {STEPS}, or {PLAYED} in *Pairs without a "
    "judge*. Its learning rates and amounts were searched, here only dDPO's learning "
    f"rate. Its IRFT has {METHODS['self_play'].settings['rounds']} rounds, here "
    f"{ROUNDS}. It grades both turns of the exam, this chapter answers to {len(asked)} "
    "held-out prompts.",
    key="replications",
    answer=replications.unanimity(study),
)

# %% [markdown]
# ### All methods on one frontier
#
# The rows of all three chapters, means over the replications: each began at its replication's dSFT model. (Best of
# 8 stands at $\log 8 - 7/8$ nats; its answers were drawn at a lower temperature, so this is its place only roughly.)

# %% tags=["hide-output"]
rows_of_study = replications.study_frontier()
if rows_of_study:
    fig = figures.frontier(
        {name: [point] for name, point in rows_of_study.items()},
        {"grade": "mean grade, 1 to 10", "right": "share of right answers"},
    )
    fig.set_size_inches(9.0, 5.6)  # the legend has a name for each method
    figures.show(
        fig,
        alt="Mean grade and right answers against KL from dSFT, each method a point: "
        + "; ".join(
            f"{name} KL {one['kl']:.2f}, grade {one['grade']:.2f}, right "
            f"{100 * one['right']:.0f} %" for name, one in rows_of_study.items()
        ),
        caption="Grade and share of right answers against the KL divergence from dSFT, "
        f"each point the mean of a method's {study.replications} replications.",
    )
else:
    print(replications.NOTHING_YET)

# %% [markdown]
# Read it in both panels. The families differ in their pairs, in the rows of a step, and in whether an adapter or all
# weights are trained; rows of one family make as many steps, and dDPO had all pairs. So compare within a family first.

# %% [markdown]
# ## Your turn with your own data
#
# *Strength* (with scores) and *the line* need pairs: set `preferences` in the parameters to a file as in
# [dDPO](05_ddpo). *Pairs without a judge* needs dialogues alone. Grades are the miniature teacher's, who knows only
# its own world; for other prompts replace `grade`. For the dissection, replace our features by any that a program or
# a person can state of an answer.
#
# Then check: does the amount that was best on some prompts stay best on others? How much of the rejected side equals
# the chosen one after each round of self-play? Which features does your judge go by that it should not?

# %% [markdown]
# ## Recap
#
# 1. *Strength*: equation {eq}`eq-12-strength`, weights of mean 1, [the pull of each pair](ex-12-pulls), and
#    [whether it helped](ex-12-helped).
# 2. *The line*: [a model that nobody trained](ex-12-extrapolated); whether it helps depends on where the training
#    stopped.
# 3. *Logits*: [their loss](ex-12-token-kl), the same mean gradient without the noise of the draw.
# 4. *Pairs without a judge*: [from demonstrations](ex-12-demonstration-pairs), at which they end.
# 5. *What a judge goes by*: [the weights behind its choices](ex-12-fit-weights), known ones found again.
# 6. *Moving answers*: [a point on the way](ex-12-flow-pair); a field learned from pairs, and passes beyond them.
#
# ## References
#
# - {cite:t}`wang2024helpsteer2preference`: the strength of preferences. {cite:t}`zheng2024expo`: extrapolation.
# - {cite:t}`hinton2015distilling`, {cite:t}`kim2016sequence`, {cite:t}`agarwal2023gkd`: distillation of logits, of
#   sequences, and on the student's own texts.
# - {cite:t}`chen2024spin`, {cite:t}`li2024irft`: self-play, and rewards from demonstrations.
# - {cite:t}`li2024dissecting`: what people and models go by. {cite:t}`kim2024pfm`: flows between answers.

# %% tags=["remove-cell"]
artefacts.write_metrics(folder, metrics)
