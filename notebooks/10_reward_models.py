# %% [markdown]
# # Reward models, and what Zephyr left out
#
# Before DPO, learning from preferences took two stages: train a **reward model**, which gives every answer a number,
# then train the policy on its own samples to earn more of it {cite:p}`ouyang2022instructgpt`. Zephyr's authors call
# the distilled form dPPO, name Xwin-LM-7B as "one of the few open models" trained with it, and stress that dDPO needs
# no "additional sampling during fine-tuning" {cite:p}`tunstall2023zephyr`. Here we take the longer way. Our grades
# follow a rule, so we can see whether a higher reward is a better answer.

# %% [markdown]
# ## What you will be able to do
#
# 1. Train a reward model from pairs, and say what its number means and what it does not.
# 2. Use the strength of a preference, and tell whether it helped.
# 3. Compute the best of n for every n from one set of samples, beside a random control.
# 4. Write reinforcement learning with a leave-one-out baseline, and track its KL divergence.
# 5. Write PPO with a value head, and check each part against a closed form.
# 6. Compare methods at equal KL divergence, and recognise over-optimisation: the reward rises, the grade does not.

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
import math
import time

import numpy as np
import peft
import torch
import torch.nn.functional as F
import trl
from datasets import Dataset
from IPython.display import Markdown, display
from transformers import PrinterCallback

from zephyr_utils import (
    chat, evaluation, exercises, figures, lessons, objectives, online, rewards,
    training,
)
from zephyr_utils.ablations.methods.replication import STEPS
from zephyr_utils.lessons import chapter_seeds, replications
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"
folder = pipeline.folder / "10_reward_models"

# %% [markdown]
# ## From pairs to a number
#
# [Chapter 05](05_ddpo) eliminated the reward from the Bradley-Terry model {cite:p}`bradley1952rank`. Stop one step
# earlier and keep it: fit a function $r(x, y)$ under which the judge's choices are most likely,
#
# $$
# L(r) = -\,\mathbb{E}_{(x, y_w, y_l)} \big[ \log \sigma\big( r(x, y_w) - r(x, y_l) \big) \big] .
# $$ (eq-10-bt)
#
# This is dDPO's loss with a free $r$ in place of $\beta \log \pi_\theta / \pi_\mathrm{dSFT}$. What does it recover?
# Give four answers to one prompt true rewards, compute how often each beats each, and fit four numbers to these
# shares.

# %%
true_reward = np.array([2.0, 3.0, 0.0, 4.0])
wins = 1 / (1 + np.exp(true_reward - true_reward[:, None]))
np.fill_diagonal(wins, 0)
print(wins.round(2))

# %% [markdown]
# ````{exercise} Where comparisons pull a reward
# :label: ex-10-pull
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `reward_gradient(rewards, wins)`: `rewards` has one number per answer to a prompt, `wins[i, j]` says how often
# answer i was chosen over answer j. Return the gradient of $-\sum_{ij} w_{ij} \log \sigma(r_i - r_j)$, one number
# per answer.
# ````

# %% tags=["exercise"]
def reward_gradient(rewards, wins):
    ...


exercises.check_reward_gradient(reward_gradient)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The derivative of $\log \sigma(d)$ is $\sigma(-d)$. A comparison pulls the chosen answer up and the rejected one
# down, by the same amount.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `rewards[:, None] - rewards` has $r_i - r_j$ in row i, column j; `wins` times $\sigma(r_j - r_i)$ is the table of
# pulls. One axis summed gives what an answer got as chosen, the other as rejected. Which sign does each have in a loss?
# ```

# %% [markdown]
# `````{solution} ex-10-pull
# :class: dropdown
# ```python
# def reward_gradient(rewards, wins):
#     pulls = wins / (1 + np.exp(rewards[:, None] - rewards))  # w_ij sigmoid(r_j - r_i)
#     return pulls.sum(axis=0) - pulls.sum(axis=1)
# ```
# `````

# %% [markdown]
# Your gradient, and the one that PyTorch derives from the package's loss (in which a weight says how often a pair
# counts). The fit is then gradient descent:

# %%
reward_gradient = exercises.yours(reward_gradient, exercises.check_reward_gradient)
equal = torch.zeros(4, dtype=torch.float64, requires_grad=True)
i, j = np.nonzero(wins)
share = torch.tensor(wins[i, j])
loss = objectives.bradley_terry_loss(equal[i], equal[j], share, "scaled")
(len(share) * loss).backward()  # the exercise has a sum, the package a mean
ours = np.asarray(reward_gradient(np.zeros(4), wins))
print("ours   ", ours.round(4))
print("package", equal.grad.numpy().round(4))
assert np.allclose(ours, equal.grad)

# %%
def fit(start, steps=600):
    fitted = start.copy()
    for _ in range(steps):
        fitted -= np.asarray(reward_gradient(fitted, wins))
    return fitted

# %% tags=["remove-input"]
lessons.predict(
    "We fit twice, once from rewards of 0 and once from rewards of 100. Which rewards "
    "come out?",
    [
        "the true ones, both times",
        "the true ones plus a constant, another one each time",
        "the true ones up to a factor",
    ],
    answer=1,
    key="recovered",
)

# %% tags=["hide-output"]
for start in (0.0, 100.0):
    fitted = fit(np.full(4, start))
    print(f"from {start:g}: {fitted.round(3)}", end="   ")
    print(f"minus the mean: {(fitted - fitted.mean()).round(3)}")
print("truth, minus its mean:", true_reward - true_reward.mean())

# %% tags=["remove-input"]
lessons.explain(
    "Only differences enter the loss: what pulls one answer up pulls another down (the "
    f"gradient's four numbers sum to {abs(ours.sum()):.1f}), so the mean of the four "
    "stays where it began. Their scale is fixed: at a difference of one the higher "
    f"answer wins with probability {1 / (1 + np.exp(-1)):.2f}. As a constant is free "
    "for *each prompt*, rewards of different prompts cannot be compared.",
    key="recovered",
)

# %% [markdown]
# ## A head on a language model
#
# The reward model is the dSFT model with a **head**, a linear map from the last layer's state to one number, in place
# of the layer that scores the next token. It is read at the *last token*, whose state alone depends on the whole
# answer. (transformers calls this a sequence classifier with one label; TRL's `RewardTrainer` uses it.)

# %%
sft_model, sft_key = pipeline.start()
train, held_out, row_counts = pipeline.split_pairs()
print(row_counts.report())
print(f"{len(train)} pairs to train on, {len(held_out)} held out")

# %%
model, tokenizer = rewards.load_reward_model(sft_model, new_head=True)
pair = train[0]
ids, _ = chat.encode(tokenizer, pair["chosen"])
print(repr(tokenizer.decode(ids)))
print("read at", repr(tokenizer.decode(ids[-1:])))
print("the head:", tuple(model.score.weight.shape))

# %% [markdown]
# By hand and by the package, with a random head:

# %%
torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(seed))
with torch.no_grad():
    state = model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
by_hand = (model.score.weight[0] @ state).item()
[ours] = rewards.score_answers(model, tokenizer, [pair["chosen"]])
print(f"by hand {by_hand:.5f}, package {ours:.5f}")
assert abs(by_hand - ours) < 1e-3

# %% [markdown]
# ### The loss, and the strength of a preference
#
# UltraFeedback's judge scored both answers. HelpSteer2-Preference {cite:p}`wang2024helpsteer2preference` asked people
# for a strength $s$ of 1, 2 or 3 and compared three losses, with $d = r(x, y_w) - r(x, y_l)$:
#
# - **regular**, $-\log \sigma(d)$;
# - **margin**, $-\log \sigma(d - s)$, which asks for a distance;
# - **scaled**, $-s \log \sigma(d)$, which counts the pair $s$ times.

# %% [markdown]
# ````{exercise} Strength as a weight
# :label: ex-10-scaled
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `scaled_loss(chosen, rejected, strength)`, three tensors with one entry per pair. Return the mean scaled loss
# of the batch. Divide the strengths by their mean first: a mean above 1 would only be a larger learning rate.
# ````

# %% tags=["exercise"]
def scaled_loss(chosen, rejected, strength):
    ...


exercises.check_scaled_loss(scaled_loss)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# `F.logsigmoid(chosen - rejected)` is one number per pair. Multiply by the weight, then the mean, then the sign.
# ```

# %% [markdown]
# `````{solution} ex-10-scaled
# :class: dropdown
# ```python
# def scaled_loss(chosen, rejected, strength):
#     weight = strength / strength.mean()
#     return -(weight * F.logsigmoid(chosen - rejected)).mean()
# ```
# `````

# %% [markdown]
# Your loss and the package's, then the pull of each loss, $-\partial L / \partial d$, on a pair that is already
# ranked correctly:

# %%
scaled_loss = exercises.yours(scaled_loss, exercises.check_scaled_loss)
chosen, rejected = torch.randn(2, 9, generator=torch.Generator().manual_seed(seed))
strength = torch.tensor([1.0, 2.0, 3.0] * 3)
package = objectives.bradley_terry_loss(chosen, rejected, strength / 2, "scaled")
print(f"{scaled_loss(chosen, rejected, strength):.6f} {package:.6f}")

# %%
for kind in ("regular", "margin", "scaled"):
    d = torch.tensor([2.0], requires_grad=True)
    weight = None if kind == "regular" else torch.tensor([3.0])
    objectives.bradley_terry_loss(d, torch.zeros(1), weight, kind).backward()
    print(f"{kind:8s} pull on a pair with d = 2 and strength 3: {-d.grad.item():.3f}")

# %% [markdown]
# Our pairs come with scores, so strengths are free: 1, 2 or 3 by thirds of the score gap.

# %%
cuts = rewards.strength_cuts(train)
strengths = rewards.preference_strengths(train, cuts)
values, counts = np.unique(strengths, return_counts=True)
print(f"gaps are cut at {cuts[0]:.2f} and {cuts[1]:.2f}")
for value, count in zip(values, counts, strict=True):
    print(f"strength {value:g}: {count:,} pairs")

# %% [markdown]
# ### Training, written out
#
# A plain loop, once over a few pairs. The head starts at zero.

# %%
def reward_step(model, batch, optimiser):
    texts = [row[side] for side in ("chosen", "rejected") for row in batch]
    rows = [chat.encode(tokenizer, text)[0] for text in texts]
    width = max(map(len, rows))
    pad = [tokenizer.pad_token_id]
    ids = torch.tensor([row + pad * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    reward = model(input_ids=ids, attention_mask=mask).logits[:, 0]  # (2 * batch,)
    chosen, rejected = reward.chunk(2)
    loss = -F.logsigmoid(chosen - rejected).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()

# %% tags=["remove-input"]
lessons.predict(
    "What is the first loss?",
    ["0, since the head gives 0", "ln 2", "it depends on the dSFT model"],
    answer=1,
    key="first",
)

# %% tags=["hide-output"]
model, tokenizer = rewards.load_reward_model(sft_model, new_head=True)
optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.0)
losses = [
    reward_step(model, train[start : start + 16], optimiser)
    for start in range(0, 192, 16)
]
print(" ".join(f"{loss:.3f}" for loss in losses))
assert abs(losses[0] - np.log(2)) < 1e-6

# %% tags=["remove-input"]
lessons.explain(
    f"{losses[0]:.4f}, which is ln 2: both rewards are zero, so each order has a "
    "chance of a half; a loss of zero would take certainty. As in dDPO (chapter 05), "
    "any other number means a fault before training has begun.",
    key="first",
)

# %% [markdown]
# The package's `train_reward_model` adds an adapter, a schedule and batches of similar length. (TRL's `RewardTrainer`
# has *regular* and *margin*, but not *scaled*; the tests compare our rewards and losses with its own.) It gets all of
# dDPO's pairs:

# %%
def reward_model(name, pairs, start=(sft_model, sft_key), **changes):
    recipe = rewards.RewardRecipe(seed=seed, **changes)

    def make(where):
        rewards.train_reward_model(start[0], pairs, where, recipe)
        return {"pairs": len(pairs)}

    return artefacts.build_artefact(
        folder / name,
        inputs={"start": start[1], "pairs": artefacts.fingerprint(pairs)},
        recipe=vars(recipe),
        make=make,
        code=["zephyr_utils.rewards.train"],
    )


made = reward_model("regular", train, learning_rate=2e-3)
model, tokenizer = rewards.load_reward_model(made.folder / training.MODEL)

# %% [markdown]
# ## Does it rank held-out pairs?
#
# Compare it with the dDPO model's *implicit* reward ([chapter 05](05_ddpo)),
# $\beta \log \pi_\theta / \pi_\mathrm{dSFT}$, from the same pairs.

# %% tags=["remove-input"]
lessons.predict(
    "Trained on the same pairs, which ranks held-out pairs more often as the label "
    "does?",
    ["the reward model", "dDPO's implicit reward", "this many pairs cannot tell"],
    key="rank",
)

# %%
scored = rewards.score_pairs(model, tokenizer, held_out)

def log_probs(name):
    scorer, its = chat.load_model(pipeline.model_directory(name), "float32")
    sides = ([row[side] for row in held_out] for side in ("chosen", "rejected"))
    return [training.answer_log_probs(scorer, its, texts).numpy() for texts in sides]

before, after = log_probs("dsft"), log_probs("ddpo")
margins = {
    "reward model": scored.chosen - scored.rejected,
    "dDPO, implicit": (after[0] - before[0]) - (after[1] - before[1]),
}

# %% tags=["hide-output"]
accuracy = {}
for name, margin in margins.items():
    accuracy[name] = evaluation.wilson_interval(int((margin > 0).sum()), len(margin))
    print(f"{name:15s} ranks as the label: {accuracy[name]}")
difference = evaluation.paired_difference(*(margin > 0 for margin in margins.values()))
print(f"reward model minus dDPO, pair by pair: {difference}")

# %% tags=["remove-input"]
undecided = difference.low <= 0 <= difference.high
lessons.explain(
    f"The paired difference is {difference.mean:+.3f}, from {difference.low:+.3f} to "
    f"{difference.high:+.3f}. "
    + ("That includes zero: this many pairs cannot tell. " if undecided else "")
    + "Loss, pairs and first model are the same. (dDPO's learning rate was searched, "
    "the reward model's was not.)",
    key="rank",
    answer=2 if undecided else (0 if difference.mean > 0 else 1),
)

# %% [markdown]
# ### What strength adds
#
# Five reward models on the same few pairs: the three losses, a regression on the scores, and HelpSteer2-Preference's
# best: that regression, then the scaled loss with the same head.

# %%
few = train[:192]
quick = {"learning_rate": 2e-3, "epochs": 1}
variants = {
    kind: reward_model(f"few_{kind}", few, objective=kind, **quick)
    for kind in ("regular", "margin", "scaled", "rating")
}
first = variants["rating"]
variants["rating, then scaled"] = reward_model(
    "few_rating_scaled", few, (first.folder / training.MODEL, first.key),
    objective="scaled", learning_rate=1e-3,
)

# %% tags=["remove-input"]
lessons.predict(
    "How many of the other four differ in accuracy from *regular* by more than the "
    "width of its interval?",
    ["none", "one or two", "three or four"],
    key="strength",
)

# %% tags=["hide-output"]
few_scores = {}
for name, manifest in variants.items():
    scorer, _ = rewards.load_reward_model(manifest.folder / training.MODEL)
    few_scores[name] = rewards.score_pairs(scorer, tokenizer, held_out)
    print(f"{name:20s} accuracy {few_scores[name].accuracy}")

# %% tags=["remove-input"]
plain = few_scores["regular"].accuracy
few_accuracy = {name: one.accuracy.estimate for name, one in few_scores.items()}
far = sum(
    abs(one - plain.estimate) > plain.high - plain.low for one in few_accuracy.values()
)
lessons.explain(
    f"{far} of them. With {len(held_out)} held-out pairs an interval is "
    f"{plain.high - plain.low:.2f} wide. The paper reports "
    f"{lessons.published('91.5, 91.5 and 92.7', 'RewardBench, arXiv 2410.01257')} for "
    f"the three losses, and {lessons.published('93.7', 'the same')} for scaled after "
    "regression; to see such differences takes thousands of pairs.",
    key="strength",
    answer=0 if far == 0 else 1 if far < 3 else 2,
)

# %% [markdown]
# ## Labels and truth
#
# A label is one choice of a judge that errs at times. Here each answer also has a **true grade**, which the teacher's
# rule gives without noise.

# %%
judge = pipeline.setting.exam.judge()

def grade(prompt, answer):
    question = {"question_id": prompt, "category": "", "turns": [prompt]}
    return judge.grade(question, [answer], 1).score

grades = np.array([
    [grade(row["prompt"], row[side][-1]["content"]) for side in ("chosen", "rejected")]
    for row in held_out
])
decided = grades[:, 0] != grades[:, 1]
truth = (grades[:, 0] > grades[:, 1])[decided]
print(f"{decided.sum()} of {len(held_out)} pairs have two true grades that differ")

# %% tags=["remove-input"]
lessons.predict(
    "Can a reward model that was trained on labels with errors agree with the truth "
    "more often than with the labels?",
    ["no: its labels are all it knows", "yes: random errors average out"],
    key="truth",
)

# %% tags=["hide-output"]
few_margins = {name: one.chosen - one.rejected for name, one in few_scores.items()}
label_share, true_share = {}, {}
agreement = [("the label", "–", f"{truth.mean():.3f}")]
for name, margin in {**margins, **few_margins}.items():
    right = (margin > 0)[decided]
    label_share[name], true_share[name] = right.mean(), (right == truth).mean()
    agreement.append((name, f"{label_share[name]:.3f}", f"{true_share[name]:.3f}"))
display(Markdown(markdown_table(
    ("who ranks", "agrees with the label", "with the truth"), agreement, numbers=(1, 2)
)))

# %% tags=["remove-input"]
above = true_share["reward model"] > label_share["reward model"]
first_by = [max(few_margins, key=share.get) for share in (label_share, true_share)]
by_truth = sorted(true_share[name] for name in few_margins)
lessons.explain(
    f"The label is right in {truth.mean():.0%}. The reward model agrees with the truth "
    f"in {true_share['reward model']:.0%}"
    + (
        ", more often than with the labels: random errors average out over many pairs. "
        "Accuracy on noisy labels understates such a model."
        if above
        else ", no more often than with the labels. A judge who errs in one direction, "
        "for length or for one model's manner, teaches its error."
    )
    + " Of the five on few pairs "
    + (
        f"labels and truth both put *{first_by[0]}* first"
        if first_by[0] == first_by[1]
        else f"the labels put *{first_by[0]}* first, the truth *{first_by[1]}*"
    )
    + f"; by the truth they lie between {by_truth[0]:.3f} and {by_truth[-1]:.3f}.",
    key="truth",
    answer=int(above),
)

# %% [markdown]
# ## Best of n
#
# The simplest use of a reward model trains nothing: sample n answers and keep the one with the highest reward. To
# evaluate every n at once, draw N answers and average over *all* subsets of n. In ascending order of score, the k-th
# answer is the best of $\binom{k-1}{n-1}$ of the $\binom{N}{n}$ subsets.

# %% [markdown]
# ````{exercise} Every n from one set of samples
# :label: ex-10-best
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `expected_best(scores, grades, n)`, two arrays with one entry per answer to a prompt. Return the expected
# grade of the best-scored of n answers, one number. No two scores are equal.
# ````

# %% tags=["exercise"]
def expected_best(scores, grades, n):
    ...


exercises.check_expected_best(expected_best)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# An expectation is a sum: each grade times the share of all subsets in which that answer scores best. Sort by score
# first; an answer below the n-th place is never the best of n.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `grades[np.argsort(scores)]` are the grades in that order; `math.comb(k - 1, n - 1)` counts subsets, k from 1. There are
# `math.comb(len(scores), n)` of them in all.
# ```

# %% [markdown]
# `````{solution} ex-10-best
# :class: dropdown
# ```python
# def expected_best(scores, grades, n):
#     ordered = grades[np.argsort(scores)]
#     subsets = math.comb(len(scores), n)
#     return sum(math.comb(k - 1, n - 1) / subsets * g for k, g in enumerate(ordered, 1))
# ```
# `````

# %% [markdown]
# Eight answers of dSFT to each of some held-out prompts, with rewards (`proxy`) and true grades (`gold`):

# %%
asked = list(dict.fromkeys(row["prompt"] for row in held_out))[:48]
policy, tokenizer = chat.load_model(sft_model, "float32")

def sample(policy, prompts, samples, seed):
    return online.sample_answers(
        policy, prompts, samples, tokenizer=tokenizer, max_new_tokens=64, seed=seed
    )

answers = sample(policy, asked, 8, seed)
print(online.count_samples(answers).report())

# %%
def message(role, content):
    return {"role": role, "content": content}

def scores_of(prompts, answers):
    texts = [
        [message("user", prompt), message("assistant", one.text)]
        for prompt, group in zip(prompts, answers, strict=True) for one in group
    ]
    return rewards.score_answers(model, tokenizer, texts).reshape(len(prompts), -1)

def grades_of(prompts, answers):
    return np.array([
        [grade(prompt, one.text) for one in group]
        for prompt, group in zip(prompts, answers, strict=True)
    ])

proxy, gold = scores_of(asked, answers), grades_of(asked, answers)

# %%
expected_best = exercises.yours(expected_best, exercises.check_expected_best)
unequal = next(n for n, row in enumerate(proxy) if len(set(row)) == len(row))
ours = expected_best(proxy[unequal], gold[unequal], 4)
package = rewards.best_of_n_curve(proxy, gold)[unequal, 3]
print(f"one prompt, the best of 4: {ours:.4f} {package:.4f}")
assert abs(ours - package) < 1e-9

# %% tags=["remove-input"]
lessons.predict(
    "Choosing by the grade itself gains the most that eight samples allow. What part "
    "of that gain does the reward model get?",
    ["less than a quarter", "one to three quarters", "more than three quarters"],
    key="best",
)

# %% tags=["hide-output"]
curves = {
    "chosen by the reward model": rewards.best_of_n_curve(proxy, gold).mean(axis=0),
    "chosen by the grade itself": rewards.best_of_n_curve(gold, gold).mean(axis=0),
    "chosen at random": np.full(8, gold.mean()),
}
display(Markdown(markdown_table(
    ("n", *curves),
    [
        (n, *(f"{value:.2f}" for value in grades))
        for n, grades in enumerate(zip(*curves.values(), strict=True), start=1)
    ],
    numbers=range(4),
)))
picked = gold[np.arange(len(asked)), rewards.best_of_n(proxy)]
control = np.random.default_rng(seed).random(proxy.shape)
by_chance = gold[np.arange(len(asked)), rewards.best_of_n(control)]
gain = evaluation.paired_difference(picked, by_chance)
print(f"best of 8 minus a random one, prompt by prompt: {gain}")

# %% tags=["remove-input"]
gains = [curve[-1] - gold.mean() for curve in curves.values()]
reached = gains[0] / gains[1]
lessons.explain(
    f"{reached:.0%}: from {gold.mean():.2f} to "
    f"{curves['chosen by the reward model'][-1]:.2f}, where the best of eight has "
    f"{curves['chosen by the grade itself'][-1]:.2f}. A policy that is trained on this "
    "reward model is trained on its errors as well.",
    key="best",
    answer=0 if reached < 1 / 4 else 1 if reached <= 3 / 4 else 2,
)

# %% [markdown]
# On the page [Talk to the models](../talk), *The best of n* has a slider for n over single questions: which answer the
# reward model chooses, and what the teacher's grade of it is.

# %% [markdown]
# ## Reinforcement learning on the reward
#
# Best of n costs n answers every time. Reinforcement learning changes the policy instead, for [chapter 05](05_ddpo)'s
# objective: the reward minus a penalty, $\beta$ there and $\kappa$ here, times the KL divergence from dSFT. The
# simplest form samples k answers to a prompt and compares each with the mean of the others: **RLOO**, REINFORCE with
# a leave-one-out baseline {cite:p}`ahmadian2024rloo`. It needs no second network. PPO {cite:p}`schulman2017ppo`
# follows.

# %% [markdown]
# ````{exercise} The leave-one-out baseline
# :label: ex-10-rloo
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `leave_one_out(rewards)`: the array has a row of k rewards for each prompt. Return the advantages in the same
# shape, $A_i = r_i$ minus the mean of the other $k - 1$.
# ````

# %% tags=["exercise"]
def leave_one_out(rewards):
    ...


exercises.check_leave_one_out(leave_one_out)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# The sum of the others is the sum of the row minus the answer's own reward.
# ```

# %% [markdown]
# `````{solution} ex-10-rloo
# :class: dropdown
# ```python
# def leave_one_out(rewards):
#     others = rewards.sum(axis=1, keepdims=True) - rewards
#     return rewards - others / (rewards.shape[1] - 1)
# ```
# `````

# %%
leave_one_out = exercises.yours(leave_one_out, exercises.check_leave_one_out)
package = objectives.rloo_advantages(torch.tensor(gold[:, :4]))
assert np.allclose(leave_one_out(gold[:, :4]), package)
print(f"largest sum over a prompt's answers: {package.sum(dim=1).abs().max():.1e}")

# %% [markdown]
# The constant that is free for each prompt cancels here, as it must. (TRL's `RLOOTrainer` computes the same advantages
# and loss; it trains below, beside the loop that is written out here.)
#
# Next, the samples' log-probabilities, with gradients. The sampler has kept those under the policy that drew them;
# before the first step the two must agree:

# %%
def sampled_rows(prompts, answers):
    """Token ids, padded, and as labels: -100 where a token was not sampled."""
    rows, begins = [], []
    for prompt, group in zip(prompts, answers, strict=True):
        start = chat.encode_prompt(tokenizer, [message("user", prompt)])
        rows += [start + one.token_ids for one in group]
        begins += [len(start)] * len(group)
    width = max(map(len, rows))
    pad = [tokenizer.pad_token_id]
    ids = torch.tensor([row + pad * (width - len(row)) for row in rows])
    labels = ids.clone()
    for n, (row, start) in enumerate(zip(rows, begins, strict=True)):
        labels[n, :start], labels[n, len(row) :] = -100, -100
    return ids, labels

def sampled_log_probs(policy, prompts, answers):
    ids, labels = sampled_rows(prompts, answers)
    return objectives.sequence_log_probs(policy(input_ids=ids).logits, labels)

# %%
with torch.no_grad():
    again = sampled_log_probs(policy, asked[:4], answers[:4])
kept = torch.tensor([one.log_prob for group in answers[:4] for one in group])
print(f"largest difference: {(again - kept).abs().max():.1e} nats")
assert torch.allclose(again, kept, atol=1e-2)

# %% [markdown]
# One round: sample, score, subtract the KL penalty, compare within the prompt (with your function), and take one step
# on each half of the batch. By the second half the policy has moved, hence PPO's clip: a ratio
# $\rho = \pi / \pi_\mathrm{old}$ beyond $1 + \epsilon$ (advantage above 0) or below $1 - \epsilon$ (advantage
# below 0) pulls no further; on the other side it is still pulled back.

# %%
K, PENALTY, PROMPTS = 4, 0.05, 12  # the penalty per nat
reference = policy  # the dSFT model, never changed

def rloo_rewards(prompts, answers, old, reward):
    """Rewards less the penalty, (prompts, K)."""
    with torch.no_grad():
        kl = objectives.kl_estimate(old, sampled_log_probs(reference, prompts, answers))
    return reward(prompts, answers) - PENALTY * kl.view(-1, K).numpy()

def rloo_step(policy, optimiser, prompts, answers, old, advantages):
    now = sampled_log_probs(policy, prompts, answers)
    loss = objectives.clipped_policy_loss(now, old, advantages)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()

# %%
def rloo_round(policy, optimiser, prompts, reward, seed):
    answers = sample(policy, prompts, K, seed)
    old = torch.tensor([one.log_prob for group in answers for one in group])
    advantages = leave_one_out(rloo_rewards(prompts, answers, old, reward))
    each = torch.tensor(advantages).float().flatten()
    for n in (0, 1):
        half = slice(n * PROMPTS // 2, (n + 1) * PROMPTS // 2)
        drawn = slice(K * half.start, K * half.stop)
        rloo_step(
            policy, optimiser, prompts[half], answers[half], old[drawn], each[drawn]
        )

# %% [markdown]
# Measured on *held-out* prompts: reward, grade, the share of right answers, KL divergence and length.

# %%
SHOWN = ("reward", "grade", "right", "kl", "tokens")

def measure(policy):
    answers = sample(policy, asked, 2, seed + 1)
    with torch.no_grad():
        old = torch.tensor([one.log_prob for group in answers for one in group])
        kl = old - sampled_log_probs(reference, asked, answers)
    graded, rewarded = grades_of(asked, answers), scores_of(asked, answers)
    return {
        "each": graded,  # (prompts, 2), as the next
        "rewards": rewarded,
        "reward": rewarded.mean(),
        "grade": graded.mean(),
        "right": (graded >= judge.right_from).mean(),
        "kl": kl.mean().item(),
        "tokens": np.mean([one.n_tokens for group in answers for one in group]),
    }

start_point = measure(reference)

# %%
def paired(one, other, key):
    """One measured model minus another, prompt by prompt."""
    return evaluation.paired_difference(one[key].mean(axis=1), other[key].mean(axis=1))

# %%
prompts = list(dict.fromkeys(row["prompt"] for row in train))

def show(paths):
    display(Markdown(markdown_table(
        ("run", *SHOWN),
        [  # adding 0 takes the sign of -0.00
            (name, *(f"{round(point[key], 2) + 0:.2f}" for key in SHOWN))
            for name, path in paths.items()
            for point in path
        ],
        numbers=range(1, 6),
    )))

def reinforce(reward, rounds=10, every=5):
    policy, _ = chat.load_model(sft_model, "float32")
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-4)
    draw = np.random.default_rng(seed)
    path = [start_point]
    for n in range(1, rounds + 1):
        some = [prompts[i] for i in draw.choice(len(prompts), PROMPTS, replace=False)]
        rloo_round(policy, optimiser, some, reward, seed=1000 + n)
        if n % every == 0:
            path.append(measure(policy))
    return path

# %% tags=["remove-input"]
lessons.predict(
    "One run is rewarded by the reward model, the other by the grade itself. At the "
    "end, whose answers does the *reward model* score higher?",
    ["those of its own run", "those of the grade's run", "this many cannot tell"],
    key="rl",
)

# %% tags=["hide-output"]
paths = {"reward model": reinforce(scores_of), "teacher's grade": reinforce(grades_of)}
show(paths)

# %% tags=["hide-output"]
by_model, by_grade = (path[-1] for path in paths.values())
rl_reward = paired(by_model, by_grade, "rewards")
print(f"reward, the reward model's run minus the grade's: {rl_reward}")

# %% tags=["remove-input"]
stored_gains = list(zip(*(
    chapter_seeds.stored_values(folder.name, name)
    for name in ("rl_true_grade_gain", "rl_grade_gain")
), strict=True))
grade_first = sum(by_truth > by_proxy for by_truth, by_proxy in stored_gains)
lessons.explain(
    f"Rewards of {by_model['reward']:.2f} and {by_grade['reward']:.2f}, from "
    f"{start_point['reward']:.2f} (difference {rl_reward.mean:+.2f}, from "
    f"{rl_reward.low:+.2f} to {rl_reward.high:+.2f}). Grade and right answers went "
    f"from {start_point['grade']:.2f} and {start_point['right']:.0%} to "
    f"{by_model['grade']:.2f} and {by_model['right']:.0%} (on the reward model), "
    f"{by_grade['grade']:.2f} and {by_grade['right']:.0%} (on the grade). But the runs "
    f"moved KL {by_model['kl']:.2f} and {by_grade['kl']:.2f} nats, so their ends are "
    "not compared at equal distance"
    + (
        f"; in {grade_first} of {len(stored_gains)} stored seeds the grade's run "
        "gained more grade."
        if stored_gains
        else "."
    ),
    key="rl",
    answer=2 if rl_reward.low <= 0 <= rl_reward.high else int(rl_reward.mean < 0),
)

# %% [markdown]
# ### The same by TRL
#
# TRL 1.16 still has a trainer for RLOO. Both take the same twelve prompts, four answers to each, and two steps on
# each set of answers: here both on all of them (`num_iterations=2`), since the halves that
# `steps_per_generation=2` would make are shuffled. TRL's defaults are other ones: k = 2, a learning rate that decays,
# gradients clipped at a norm of 1. The reward function keeps the answers that TRL samples.

# %%
few_prompts, kept = prompts[:PROMPTS], []

def kept_reward(prompts, completions, completion_ids, **_):
    """The reward model's, of K answers to each prompt in turn."""
    each = [
        online.Sample(answer["content"].strip(), True, len(ids), ids, [])
        for [answer], ids in zip(completions, completion_ids, strict=True)
    ]
    kept.append([each[n : n + K] for n in range(0, len(each), K)])
    return scores_of(few_prompts, kept[-1]).flatten().tolist()

# %%
ROUNDS = 3
trainer = trl.RLOOTrainer(
    chat.load_model(sft_model, "float32")[0],
    kept_reward,
    args=trl.RLOOConfig(
        output_dir=str(folder / "trl"), seed=seed, report_to="none", save_strategy="no",
        num_generations=K, num_iterations=2, max_steps=2 * ROUNDS,
        per_device_train_batch_size=K * PROMPTS, max_completion_length=64,
        beta=PENALTY, epsilon=0.2, learning_rate=3e-4, lr_scheduler_type="constant",
        optim="adamw_torch", weight_decay=0.0, max_grad_norm=0.0, logging_steps=1,
        shuffle_dataset=False, bf16=False, gradient_checkpointing=False, use_cpu=True,
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_list(
        [{"prompt": [message("user", prompt)]} for prompt in few_prompts]
    ),
    processing_class=tokenizer,
)
trainer.remove_callback(PrinterCallback)

# %% [markdown]
# The loop runs twice: on the answers that TRL has kept, where every number has to agree, and on answers of its own.

# %%
def two_passes(policy, optimiser, answers):
    """Mean reward, then the loss of both steps."""
    with torch.no_grad():
        old = sampled_log_probs(policy, few_prompts, answers)
    rewarded = rloo_rewards(few_prompts, answers, old, scores_of)
    each = torch.tensor(leave_one_out(rewarded)).float().flatten()
    losses = [
        rloo_step(policy, optimiser, few_prompts, answers, old, each) for _ in range(2)
    ]
    return [scores_of(few_prompts, answers).mean(), *losses]

def loop(answers_of):
    policy, _ = chat.load_model(sft_model, "float32")
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-4)
    return np.array([
        two_passes(policy, optimiser, answers_of(policy, n)) for n in range(ROUNDS)
    ])

# %% tags=["remove-input"]
lessons.predict(
    "TRL prints a loss for every step. What is it at the *first* step on each set of "
    "answers?",
    [
        "0 each time",
        "above 0, and falling from round to round",
        "below 0, and falling from round to round",
    ],
    answer=0,
    key="trl",
)

# %% tags=["hide-output"]
started = time.perf_counter()
trainer.train()
trl_seconds = (time.perf_counter() - started) / ROUNDS
log = [entry for entry in trainer.state.log_history if "loss" in entry]
by_trl = np.array([
    [first["reward"], first["loss"], second["loss"]]
    for first, second in zip(log[::2], log[1::2], strict=True)
])
replayed = loop(lambda policy, n: kept[n])
started = time.perf_counter()
own = loop(lambda policy, n: sample(policy, few_prompts, K, 3000 + n))
loop_seconds = (time.perf_counter() - started) / ROUNDS

# %% tags=["hide-output"]
three = {"TRL": by_trl, "the loop, TRL's answers": replayed, "the loop, own": own}
display(Markdown(markdown_table(
    ("round", "reward", "first loss", "second loss"),
    [
        (f"{name}, {n}", *(f"{value:+.4f}" for value in row))
        for name, rows in three.items()
        for n, row in enumerate(rows, 1)
    ],
    numbers=range(1, 4),
)))
trl_gap = abs(by_trl - replayed).max()
print(f"largest gap on the same answers: {trl_gap:.1e}")
print(f"per round: TRL {trl_seconds:.1f} s, the loop {loop_seconds:.1f} s")

# %% tags=["remove-input"]
lessons.explain(
    "The ratios are one, and a prompt's advantages sum to zero, whatever the rewards "
    f"are: TRL's largest is {abs(by_trl[:, 1]).max():.0e}. So this loss does not fall "
    "as training succeeds; the reward is what to follow.\n\n"
    "- **One algorithm.** On the same answers TRL and the loop differ by no more than "
    f"{trl_gap:.0e} in reward and loss: the KL estimate, summed over the answer, "
    "lowers the *reward* before the baseline (TRL logs the reward without it), and the "
    "ratio of whole answers is clipped.\n"
    "- **Other samples.** TRL draws a batch from one stream of random numbers, here "
    f"each answer has its own. After {ROUNDS} rounds TRL's answers have a reward of "
    f"{by_trl[-1, 0]:+.2f}, the loop's own {own[-1, 0]:+.2f}; a round took "
    f"{trl_seconds:.1f} and {loop_seconds:.1f} seconds.\n"
    "- **A missing reward** is an advantage of zero in TRL; here it stops the run.",
    key="trl",
)

# %% [markdown]
# ## PPO, written out
#
# TRL removed its PPO trainer in September 2026 ([errata](../errata)), but the algorithm fits on a page. RLOO treats a
# whole answer as one action, PPO each *token*. The state $s_t$ is everything before the token; its reward is the KL
# penalty, plus $r$ at the end:
#
# $$
# R_t = -\kappa \log \frac{\pi_\theta(a_t \mid s_t)}{\pi_\mathrm{dSFT}(a_t \mid s_t)}
#       + \mathbb{1}[t = T] \; r(x, y) .
# $$ (eq-10-token)
#
# Summed over the answer this is RLOO's reward, $r - \kappa \log \pi_\theta / \pi_\mathrm{dSFT}$. The baseline is a
# **value head**: $V(s_t)$, a second linear map from the last layer's state, trained to predict the rewards still to
# come. Each token is compared with what was expected before it by the temporal-difference (TD) error,
# $\delta_t = R_t + \gamma V(s_{t+1}) - V(s_t)$. **Generalised advantage estimation** (GAE; {cite:p}`schulman2015gae`)
# also counts what follows:
#
# $$
# A_t = \sum_{l \ge 0} (\gamma \lambda)^l \, \delta_{t+l} = \delta_t + \gamma \lambda \, A_{t+1} .
# $$ (eq-10-gae)
#
# The discount $\gamma$ is 1 for rewards at the end. $\lambda$ says how far the value head is trusted: at 0 the
# advantage is the TD error alone, at 1 the sum telescopes to the return minus $V(s_t)$.

# %% [markdown]
# ````{exercise} Generalised advantages
# :label: ex-10-gae
#
# **Difficulty** ●●●●○ · **Minutes** 15
#
# Write `gae(rewards, values, gamma, lam)`: two arrays with one entry per token of one answer. Return the advantages
# of equation {eq}`eq-10-gae`, one per token. The value after the last token is 0.
# ````

# %% tags=["exercise"]
def gae(rewards, values, gamma, lam):
    ...


exercises.check_gae(gae)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Go backwards from the last token and keep two numbers: the next token's value and advantage, both 0 at first.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# In `for t in reversed(range(len(rewards)))` the TD error is `rewards[t] + gamma * next_value - values[t]`. The advantage
# is the right side of the equation, and becomes the next one for the token before.
# ```

# %% [markdown]
# `````{solution} ex-10-gae
# :class: dropdown
# ```python
# def gae(rewards, values, gamma, lam):
#     advantages, next_value, next_advantage = np.zeros(len(rewards)), 0.0, 0.0
#     for t in reversed(range(len(rewards))):
#         error = rewards[t] + gamma * next_value - values[t]
#         next_advantage = advantages[t] = error + gamma * lam * next_advantage
#         next_value = values[t]
#     return advantages
# ```
# `````

# %% [markdown]
# By hand: three tokens, a reward of 1 at the end, values 0.5, 0.6 and 0.8. The TD errors are 0.1, 0.2 and 0.2; the
# return minus the value is 0.5, 0.4 and 0.2.

# %%
gae = exercises.yours(gae, exercises.check_gae)
by_hand = {0.0: [0.1, 0.2, 0.2], 0.5: [0.25, 0.3, 0.2], 1.0: [0.5, 0.4, 0.2]}
ends, guesses = np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.6, 0.8])
for lam, expected in by_hand.items():
    ours = gae(ends, guesses, 1.0, lam)
    package = objectives.generalised_advantages(
        torch.tensor(ends)[None], torch.tensor(guesses)[None], decay=lam
    )
    print(f"lambda {lam:g}: {np.round(ours, 3)}")
    assert np.allclose(ours, expected) and np.allclose(package[0], expected)

# %% [markdown]
# ### Policy, reference and value head
#
# One model is all three: dSFT with a LoRA adapter is the policy, without the adapter the reference, and the value
# head reads the policy's states. The head starts at zero.

# %%
def start_ppo():
    model, _ = chat.load_model(sft_model, "float32")
    torch.manual_seed(seed)  # of the adapter
    adapter = peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    head = torch.nn.Linear(model.config.hidden_size, 1)
    for weight in head.parameters():
        torch.nn.init.zeros_(weight)
    return peft.get_peft_model(model, adapter), head

# %% [markdown]
# A forward pass gives each sampled token's log-probability and the value before it, all answers in one flat tensor:
# no padding, no mask to forget.

# %%
def per_token(policy, head, prompts, answers):
    ids, labels = sampled_rows(prompts, answers)
    outputs = policy(input_ids=ids, output_hidden_states=True)
    sampled = labels[:, 1:] != -100
    every = outputs.logits[:, :-1].log_softmax(dim=-1)
    log_probs = every.gather(2, ids[:, 1:, None]).squeeze(2)
    values = head(outputs.hidden_states[-1][:, :-1]).squeeze(2)
    return log_probs[sampled], values[sampled]

# %% [markdown]
# First half of a round: sample one answer to each prompt, spread its reward over the tokens (equation
# {eq}`eq-10-token`), and compute the advantages with your function. The value head's target is the advantage plus the
# value; the policy's loss gets the advantages **whitened**, with mean 0 and standard deviation 1 over the batch.

# %%
GAMMA, LAMBDA, BATCH = 1.0, 0.95, 48

def collect(policy, head, prompts, reward, seed, penalty=PENALTY):
    answers = sample(policy, prompts, 1, seed)
    lengths = [one.n_tokens for [one] in answers]
    with torch.no_grad():
        old, values = per_token(policy, head, prompts, answers)
        with policy.disable_adapter():
            before, _ = per_token(policy, head, prompts, answers)
    moved = objectives.kl_estimate(old, before)
    rewards = -penalty * moved
    last = np.cumsum(lengths) - 1
    rewards[last] += torch.tensor(reward(prompts, answers)).flatten().float()
    advantages = torch.cat([
        torch.tensor(gae(of_one.numpy(), guessed.numpy(), GAMMA, LAMBDA)).float()
        for of_one, guessed in zip(
            rewards.split(lengths), values.split(lengths), strict=True
        )
    ])
    tokens = {
        "old": old, "values": values, "returns": advantages + values,
        "advantages": objectives.whitened(advantages),
    }
    each = {name: numbers.split(lengths) for name, numbers in tokens.items()}
    kl = [part.sum().item() for part in moved.split(lengths)]
    return prompts, answers, each, np.array(kl)

# %% [markdown]
# Second half: a few epochs of minibatches on these answers, with RLOO's clipped loss for the policy and a clipped
# squared error for the value head: a value that has moved by `VALUE_CLIP` is pulled no further in this round.

# %%
EPOCHS, MINIBATCH, VALUE_CLIP, VALUE_WEIGHT = 3, 24, 1.0, 0.5

def improve(policy, head, optimiser, collected):
    prompts, answers, each, _ = collected
    log = []
    for _ in range(EPOCHS):
        for part in torch.randperm(len(prompts)).split(MINIBATCH):
            now, values = per_token(
                policy, head, [prompts[i] for i in part], [answers[i] for i in part]
            )
            old, old_values, returns, advantages = (
                torch.cat([numbers[i] for i in part]) for numbers in each.values()
            )
            policy_loss = objectives.clipped_policy_loss(now, old, advantages)
            value_loss = objectives.clipped_value_loss(
                values, old_values, returns, VALUE_CLIP
            )
            optimiser.zero_grad()
            (policy_loss + VALUE_WEIGHT * value_loss).backward()
            optimiser.step()
            log.append(((now - old).exp().detach(), value_loss.item()))
    return log

# %% [markdown]
# Before any step, three things must hold: the KL divergence is 0 (the adapter begins at zero), the first minibatch's
# ratios are 1 (the policy is still the one that sampled), and with values of 0 and $\lambda = 1$ the first token's
# advantage is the whole answer's reward, RLOO's before its baseline. Then the value loss must fall from epoch to
# epoch on the same answers.

# %%
def optimiser_of(policy, head):
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    return torch.optim.Adam([
        {"params": trained, "lr": 1e-3}, {"params": head.parameters(), "lr": 1e-2},
    ])

policy, head = start_ppo()
probe = collect(policy, head, prompts[:BATCH], scores_of, seed=999)
log = improve(policy, head, optimiser_of(policy, head), probe)
first_ratio = log[0][0][(log[0][0] - 1).abs().argmax()].item()
print(f"KL {probe[3].mean():.1e}, ratio furthest from 1 {first_ratio:.6f}")
assert abs(probe[3]).max() < 1e-4 and abs(first_ratio - 1) < 1e-3
by_epoch = np.reshape([loss for _, loss in log], (EPOCHS, -1)).mean(axis=1)
print("value loss on the same answers, by epoch:", by_epoch.round(3))
assert by_epoch[-1] < by_epoch[0], "is the target the advantage plus the value?"
reward = np.array([0.0, 0.0, 2.0]) - PENALTY * np.array([0.3, -0.1, 0.4])
assert np.isclose(gae(reward, np.zeros(3), 1.0, 1.0)[0], 2.0 - PENALTY * 0.6)

# %% [markdown]
# ### As many answers as RLOO had
#
# Ten rounds of 48 answers at RLOO's penalty, here to 48 prompts each; as RLOO once on the reward model and once on the
# teacher's own grade, with the same settings.

# %%
def new_learner():
    policy, head = start_ppo()
    return policy, head, optimiser_of(policy, head)

def ppo(learner, reward, every, rounds=range(1, 11), penalty=PENALTY):
    policy, head, optimiser = learner
    draw = np.random.default_rng(seed + rounds.start - 1)
    path, value_losses = [], []
    for n in rounds:
        some = [prompts[i] for i in draw.choice(len(prompts), BATCH, replace=False)]
        collected = collect(policy, head, some, reward, 2000 + n, penalty)
        log = improve(policy, head, optimiser, collected)
        value_losses.append(np.mean([loss for _, loss in log]))
        if n % every == 0:
            path.append(measure(policy))
    return path, value_losses

# %% tags=["remove-input"]
lessons.predict(
    "PPO earns more of the reward model's reward. After ten rounds, what of the share "
    "of *right* answers?",
    ["it is higher, too", "no change that this many answers show", "it is lower"],
    key="ppo",
)

# %% tags=["hide-output"]
learner, other = new_learner(), new_learner()
ppo_paths, value_losses = {}, {}
for name, path, losses in (
    ("reward model", *ppo(learner, scores_of, every=2)),
    ("teacher's grade", *ppo(other, grades_of, every=5)),
):
    ppo_paths[name], value_losses[name] = [start_point, *path], losses
show(ppo_paths)
for name, losses in value_losses.items():
    print(f"{name}, value loss by round:", " ".join(f"{loss:.2f}" for loss in losses))

# %% tags=["hide-output"]
by_ppo, by_ppo_grade = (path[-1] for path in ppo_paths.values())
ppo_right = paired(
    *({"right": point["each"] >= judge.right_from} for point in (by_ppo, start_point)),
    "right",
)
print(f"right answers, PPO on the reward model minus dSFT: {ppo_right}")

# %% tags=["remove-input"]
first_loss, *_, last_loss = value_losses["reward model"]
grade_losses = value_losses["teacher's grade"]
lessons.explain(
    f"- **On the reward model** right answers went from {start_point['right']:.0%} to "
    f"{by_ppo['right']:.0%} (difference {ppo_right.mean:+.2f}, from "
    f"{ppo_right.low:+.2f} to {ppo_right.high:+.2f}), the reward from "
    f"{start_point['reward']:+.2f} to {by_ppo['reward']:+.2f}, the grade, which pays "
    f"for manner too, from {start_point['grade']:.2f} to {by_ppo['grade']:.2f}, in "
    f"{by_ppo['tokens']:.0f} tokens for {start_point['tokens']:.0f}.\n"
    f"- **On the grade itself** PPO ends at a grade of {by_ppo_grade['grade']:.2f} and "
    f"{by_ppo_grade['right']:.0%} right."
    + (
        " That is below dSFT, though the grade was all it was paid for. A likely "
        "reason, not tested here: a grade is at least one, and a value head that "
        "begins at zero and is held by its clip has to learn that level first (value "
        f"loss {grade_losses[0]:.1f} in the first round, {grade_losses[-1]:.1f} in the "
        f"last; on the reward model {first_loss:.2f} and {last_loss:.2f})."
        if by_ppo_grade["grade"] < start_point["grade"]
        else ""
    )
    + f"\n- **Distance.** PPO ends {by_ppo['kl']:.2f} and {by_ppo_grade['kl']:.2f} "
    f"nats from dSFT, RLOO {by_model['kl']:.2f} and {by_grade['kl']:.2f}: it takes "
    f"{EPOCHS * BATCH // MINIBATCH} steps per round to RLOO's two. Neither learning "
    "rate was searched, so this does not say which method is better.",
    key="ppo",
    answer=0 if ppo_right.low > 0 else 2 if ppo_right.high < 0 else 1,
)

# %% [markdown]
# ### Further, without the penalty
#
# Over-optimisation needs distance {cite:p}`gao2022scaling`. The run on the reward model goes on for ten more rounds,
# with nothing to hold it near dSFT.

# %% tags=["remove-input"]
lessons.predict(
    "The reward is all that counts now. What do the reward and the teacher's grade do "
    "over these rounds?",
    [
        "the grade holds or rises",
        "the grade falls while the reward holds or rises",
        "both fall",
    ],
    key="further",
)

# %% tags=["hide-output"]
further, _ = ppo(learner, scores_of, every=5, rounds=range(11, 21), penalty=0.0)
further = [by_ppo, *further]
show({"no penalty": further})

# %% tags=["hide-output"]
far = further[-1]
further_reward, further_grade = (
    paired(far, by_ppo, key) for key in ("rewards", "each")
)
print(f"reward, after minus before: {further_reward}")
print(f"grade, after minus before: {further_grade}")

# %% tags=["remove-input"]
more_reward, more_grade, more_right = (
    far[key] - by_ppo[key] for key in ("reward", "grade", "right")
)
best = max([*ppo_paths["reward model"], *further], key=lambda point: point["grade"])
stored_rises = chapter_seeds.stored_values(folder.name, "further_reward_gain")
grade_fell, reward_fell = further_grade.high < 0, further_reward.high < 0
lessons.explain(
    f"From {by_ppo['kl']:.1f} to {far['kl']:.1f} nats the reward goes by "
    f"{more_reward:+.2f} to {far['reward']:+.2f}, the grade by {more_grade:+.2f} to "
    f"{far['grade']:.2f}, right answers to {far['right']:.0%}, the length to "
    f"{far['tokens']:.0f} tokens. The grade was highest, at {best['grade']:.2f}, "
    f"{best['kl']:.1f} nats from dSFT. "
    + (
        "So no fall of the grade that this many answers show: in the time that this "
        "chapter has, over-optimisation shows in the right answers at most."
        if not grade_fell
        else "Reward and grade fall together: without the penalty the training is no "
        "longer stable, which is another fault than over-optimisation."
        if reward_fell
        else "This is over-optimisation: the policy finds what the reward model "
        "overrates."
        + (
            " This run's change of the reward is within the noise."
            if further_reward.low <= 0
            else ""
        )
    )
    + (
        f" In the stored seeds the reward rose by {min(stored_rises):+.2f} to "
        f"{max(stored_rises):+.2f}."
        if stored_rises
        else ""
    ),
    key="further",
    answer=0 if not grade_fell else 2 if reward_fell else 1,
)

# %% [markdown]
# ## The frontier
#
# What does a method gain for its distance from dSFT? For best of n the KL divergence is known:
# $\log n - (n - 1) / n$, an upper bound where samples repeat. dDPO gives a line without further training: the optimum
# of [chapter 05](05_ddpo)'s objective has $\log \pi^* / \pi_\mathrm{dSFT} = r / \beta - \log Z$, so twice the β
# halves the log-ratio up to a constant per prompt, and to first order so does half the change of the weights.

# %%
aligned, _ = chat.load_model(pipeline.model_directory("ddpo"), "float32")
whole = {name: weight.clone() for name, weight in aligned.state_dict().items()}

def ddpo_at(share):
    between = objectives.extrapolate_weights(reference.state_dict(), whole, share - 1)
    aligned.load_state_dict(between)
    return measure(aligned)

shares = [0.0, 1 / 3, 2 / 3, 1.0]
ddpo_path = [start_point, *map(ddpo_at, shares[1:])]
ddpo_point = ddpo_path[-1]
print(f"dDPO: grade {ddpo_point['grade']:.2f}, KL {ddpo_point['kl']:.2f}")

# %% [markdown]
# ### At one distance
#
# Each method ends at a distance of its own, which says little about the method: more steps or a smaller penalty would
# have taken it further. They are comparable at *equal* KL divergence, which lies between measured points.

# %% [markdown]
# ````{exercise} One method at another's distance
# :label: ex-10-distance
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `value_at_kl(kl, values, at)`: two arrays with the measured points of a method in the order of its training,
# and a KL divergence. Return the value there, on the straight line between the two points around it, and NaN outside
# of what was measured. A later point can lie nearer to dSFT.
# ````

# %% tags=["exercise"]
def value_at_kl(kl, values, at):
    ...


exercises.check_value_at_kl(value_at_kl)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# `np.interp` wants the places in ascending order, and repeats the last value beyond the end unless `left` and `right`
# say otherwise.
# ```

# %% [markdown]
# `````{solution} ex-10-distance
# :class: dropdown
# ```python
# def value_at_kl(kl, values, at):
#     order = np.argsort(kl)
#     return np.interp(at, kl[order], values[order], left=np.nan, right=np.nan)
# ```
# `````

# %% [markdown]
# For RLOO and dDPO the two distances can be made equal. KL divergence grows with the square of a small change, so its
# root is nearly straight over the share of dDPO's change; your function reads off the share, and that model answers.

# %%
value_at_kl = exercises.yours(value_at_kl, exercises.check_value_at_kl)
roots = np.sqrt([max(point["kl"], 0.0) for point in ddpo_path])
share = value_at_kl(roots, np.array(shares), np.sqrt(by_model["kl"]))
nearest = 1.0 if np.isnan(share) else share  # where dDPO ends nearer than RLOO
beside_rloo = ddpo_at(nearest)
ddpo_path.insert(np.searchsorted(shares, nearest), beside_rloo)
print(f"{nearest:.2f} of dDPO's change: KL {beside_rloo['kl']:.2f}")
print(f"RLOO on the reward model: KL {by_model['kl']:.2f}")

# %% tags=["remove-input"]
lessons.predict(
    "Both trained on one judge's labels, and lie equally far from dSFT. Which has the "
    "higher grade here?",
    ["RLOO", "dDPO", "this many prompts cannot tell"],
    key="equal",
)

# %% tags=["hide-output"]
at_one_kl = {"RLOO": by_model, "dDPO": beside_rloo}
show({name: [point] for name, point in at_one_kl.items()})
outcomes = {
    "grade": [point["each"] for point in at_one_kl.values()],
    "right": [point["each"] >= judge.right_from for point in at_one_kl.values()],
}
rloo_less_ddpo = {
    name: evaluation.paired_difference(*(each.mean(axis=1) for each in two))
    for name, two in outcomes.items()
}
for name, one in rloo_less_ddpo.items():
    print(f"RLOO minus dDPO, {name}, prompt by prompt: {one}")

# %% tags=["remove-input"]
graded, correct = rloo_less_ddpo.values()
unclear = graded.low <= 0 <= graded.high
lessons.explain(
    f"At {by_model['kl']:.2f} and {beside_rloo['kl']:.2f} nats RLOO's share of right "
    f"answers minus dDPO's is {correct.mean:+.2f}, from {correct.low:+.2f} to "
    f"{correct.high:+.2f}, the grade {graded.mean:+.2f}, from {graded.low:+.2f} to "
    f"{graded.high:+.2f}. "
    + ("That includes zero: this many prompts cannot tell. " if unclear else "")
    + "It is one seed, and a share of dDPO's change of the weights in place of a "
    "larger β; nothing follows for another seed. *Over eight replications*, below, "
    "says in how many DPO never came as far as RLOO, so that they are not compared at "
    "equal KL divergence.",
    key="equal",
    answer=2 if unclear else int(graded.mean < 0),
)

# %% [markdown]
# For best of n the samples above give every measure, whoever chooses:

# %%
def best_of(chooser):
    measures = {"reward": proxy, "grade": gold, "right": gold >= judge.right_from}
    curves = {
        key: rewards.best_of_n_curve(chooser, numbers).mean(axis=0)
        for key, numbers in measures.items()
    }
    return [
        {"kl": rewards.best_of_n_kl(n + 1)} | {key: curves[key][n] for key in curves}
        for n in range(8)
    ]

lines = {
    "dDPO": ddpo_path,
    "best of n by reward model": best_of(proxy),
    "best of n by grade": best_of(gold),
    "RLOO on reward model": paths["reward model"],
    "RLOO on grade": paths["teacher's grade"],
    "PPO on reward model": ppo_paths["reward model"],
    "PPO on grade": ppo_paths["teacher's grade"],
    "PPO further, no penalty": further,
}

# %% tags=["remove-input"]
lessons.predict(
    "Four lines follow the pairs or the reward model: dDPO, best of n, RLOO and PPO. "
    "In how many does the reward rise by more than the teacher's grade, from first to "
    "last point, in standard deviations of dSFT's answers?",
    ["in none", "in some", "in all four"],
    key="goodhart",
)

# %% tags=["hide-output"]
fig = figures.frontier(lines, {
    "grade": "teacher's grade, 1 to 10", "right": "share of right answers",
    "reward": "reward model's opinion",
})
figures.show(
    fig,
    alt="Grade, right answers and reward against KL from dSFT; ends: " + "; ".join(
        f"{name} KL {line[-1]['kl']:.2f}, grade {line[-1]['grade']:.2f}, right "
        f"{100 * line[-1]['right']:.0f} %, reward {line[-1]['reward']:+.2f}"
        for name, line in lines.items()
    ),
    caption="Grade, share of right answers and reward against the KL divergence from "
    f"dSFT, on {len(asked)} held-out prompts, seed {seed}. Each line is a training, or "
    "the best of one to eight answers.",
)

# %% tags=["hide-output"]
rises, rows = {}, []
for name, line in lines.items():
    first, last = line[0], line[-1]
    rises[name] = [
        (last[key] - first[key]) / numbers.std()
        for key, numbers in (("reward", proxy), ("grade", gold))
    ]
    rows.append((
        name, f"{last['kl']:.2f}", *(f"{rise:+.2f}" for rise in rises[name]),
        f"{100 * (last['right'] - first['right']):+.0f} %",
    ))
display(Markdown(markdown_table(
    ("run", "KL", "reward, sd", "grade, sd", "right"), rows, numbers=range(1, 5)
)))

# %% [markdown]
# The ends of all lines, each beside what dDPO's line has at the same divergence, in brackets (nan: dDPO never went so
# far):

# %% tags=["hide-output"]
def ddpo_line_at(kl, key):
    places, values = (np.array([one[k] for one in ddpo_path]) for k in ("kl", key))
    return value_at_kl(places, values, kl)

ends = []
for name, line in lines.items():
    last = line[-1]
    parts = (
        f"{last[key]:.2f} ({ddpo_line_at(last['kl'], key):.2f})"
        for key in ("reward", "grade", "right")
    )
    ends.append((name, f"{last['kl']:.2f}", *parts))
display(Markdown(markdown_table(
    ("run", "KL", "reward", "grade", "right"), ends, numbers=range(1, 5)
)))

# %% tags=["remove-input"]
judged = {
    name: rise for name, rise in rises.items()
    if not name.endswith(("grade", "no penalty"))
}
inflated = [name for name, (opinion, truth) in judged.items() if opinion > truth]
wronger = [
    name for name in judged
    if judged[name][0] > 0 and lines[name][-1]["right"] < lines[name][0]["right"] - 0.05
]
lessons.explain(
    f"In {len(inflated)} of {len(judged)}"
    + (f": {', '.join(inflated)}. " if inflated else ". ")
    + "What a reward model, or the pairs that made it, has chosen or trained is chosen "
    "for its errors too, so its opinion is too high: Goodhart's law. "
    + (
        "Right answers fell by more than five points, while the opinion rose, for "
        f"{', '.join(wronger)}."
        if wronger
        else "For none did right answers fall by more than five points: at these "
        "distances the reward model overstates answers, but does not yet spoil them."
    ),
    key="goodhart",
    answer=0 if not inflated else 1 if len(inflated) < len(judged) else 2,
)

# %% [markdown]
# ```{admonition} What you should see
# :class: note
# All lines but the last begin at dSFT, at a KL divergence of 0, where best of n differs by sampling alone. Best of n
# ends early: eight answers take it no further than $\log 8 - 7/8 = 1.2$ nats. A line that keeps rising on the right
# and flattens or falls in the other two panels is **over-optimised** {cite:p}`gao2022scaling`. Read the lines at *equal* KL divergence and only for
# large differences; the figure does not rank the methods. There is
# one seed and two answers per prompt. dDPO's learning rate was searched over seeds; PPO's settings were tried once, on
# 48 training prompts (seed 100); RLOO's were never tuned here. *Over eight replications*, below, shows how far single
# seeds lie from each other, claim by claim.
# ```

# %%
end_point = paths["reward model"][-1]
assert abs(start_point["kl"]) < 0.1, "the KL divergence is 0 before the first round"
if miniature_as_shipped:
    assert accuracy["reward model"].estimate > 0.55, (
        "no better than a coin: too few pairs, or the wrong learning rate?"
    )
    assert end_point["reward"] > start_point["reward"], (
        "the policy does not earn more of its reward: look at the sign of the advantage"
    )
    assert by_ppo["reward"] > start_point["reward"], (
        "PPO earns no more: are advantages, ratios and tokens in one order?"
    )

# %% [markdown]
# ### The paper beside ours
#
# | | published | here |
# |---|---|---|
# | dPPO | Xwin-LM-7B: 6.19 in MT-Bench, 87.83 % in AlpacaEval (Zephyr, Table 1; Xwin-LM's README has 87.82); settings never published | PPO on one page |
# | dDPO beside it | Zephyr-7B-β: 7.34, 90.60 %; from Mistral-7B, where Xwin-LM began at Llama 2 | both from one dSFT model and one set of pairs |
# | strength of preference | scaled above regular and margin by 1.2 points of RewardBench (arXiv 2410.01257) | the table above |
# | reinforcement learning with such a reward | AlpacaEval 2, length-controlled: DPO 40.4, PPO 43.8, REINFORCE 57.6 (70 B, the same paper) | the figure above |
# | over-optimisation | gold falls as the proxy rises (arXiv 2210.10760) | reward and grade side by side |
#
# ```{admonition} Errata of the sources
# :class: note dropdown
# - Zephyr's Table 1 has 87.83 % for Xwin-LM-7B in AlpacaEval, where Xwin-LM's README has 87.82 for its v0.1. The
#   README names PPO, with a report "coming soon", and no settings. The group's later paper (arXiv 2405.20335) describes
#   a reward model, rejection sampling from 64 answers and then DPO, without PPO. So nobody outside can repeat the dPPO
#   that Table 1 names.
# - HelpSteer2-Preference's runs of DPO with the three losses differ by less than their errors (AlpacaEval 2,
#   length-controlled: 40.4, 41.1 and 41.0, each ± 1.7), and length grows with the better model: its best, trained by
#   REINFORCE, writes some 2,200 characters.
# ```
#
# ```{admonition} Common mistakes
# :class: warning
# - **Comparing rewards of different prompts.** Only differences within a prompt were trained.
# - **A head that was never trained** scores at random; the package refuses it. A published figure for Zephyr came
#   about this way ([errata](../errata), 16).
# - **Best of n without a control.** If one judge chooses and grades, more samples raise the *maximum* of any chooser.
# - **A failed judgment as a reward of 0** would become an advantage; here it is refused.
# - **k = 1.** The baseline is 0 / 0. PPO's value head manages with one answer.
# - **A value target after whitening.** The target is in units of the reward; whiten for the policy's loss only.
# - **Sampling at another temperature than the ratio's.** The first ratio of each batch is then not 1; print it.
# - **A cut-off answer counts as ended here:** the value after its last token is 0. Allow many tokens, or penalise it.
# - **KL on a data set's answers.** It is an expectation over the *policy's* samples.
# - **Padding with the end token.** A classifier that looks for the last token that is not padding stops one too
#   early.
# ```

# %% [markdown]
# ## With other seeds
#
# What would another seed have shown? The whole chapter again with several seeds, each of which draws records, trainings and
# samples of its own; differences of grades, and of rewards where the label says so.

# %% tags=["remove-input"]
lessons.predict(
    "How many of these differences keep their sign with every seed?",
    ["fewer than half", "half or more, but not all", "all"],
    key="seeds",
)

# %% tags=["hide-input", "hide-output"]
metrics = {
    "accuracy": accuracy["reward model"].estimate,
    "best_of_8_gain": gain.mean,
    "rl_reward_gain": end_point["reward"] - start_point["reward"],
    "rl_grade_gain": end_point["grade"] - start_point["grade"],
    "rl_true_grade_gain": by_grade["grade"] - paths["teacher's grade"][0]["grade"],
    "rl_kl": end_point["kl"],
    "trl_gap": trl_gap,
    "ppo_first_ratio": first_ratio,
    "ppo_value_loss_ratio": by_epoch[-1] / by_epoch[0],
    "ppo_reward_gain": by_ppo["reward"] - start_point["reward"],
    "ppo_grade_gain": by_ppo["grade"] - start_point["grade"],
    "ppo_true_grade_gain": by_ppo_grade["grade"] - start_point["grade"],
    "further_reward_gain": more_reward,
    "further_grade_gain": more_grade,
    "ppo_kl": by_ppo["kl"],
    "ddpo_kl": ddpo_point["kl"],
    "ddpo_grade": ddpo_point["grade"],
    "rloo_minus_ddpo": rloo_less_ddpo["grade"].mean,
}
by_seed = {
    "best_of_8_gain": "best of 8, grade over the first answer",
    "rl_reward_gain": "RLOO, reward",
    "rl_grade_gain": "RLOO, grade",
    "rl_true_grade_gain": "RLOO on the teacher's grade, grade",
    "ppo_reward_gain": "PPO, reward",
    "ppo_grade_gain": "PPO, grade",
    "ppo_true_grade_gain": "PPO on the teacher's grade, grade",
    "further_reward_gain": "PPO without the penalty, further reward",
    "further_grade_gain": "PPO without the penalty, further grade",
    "rloo_minus_ddpo": "RLOO minus dDPO at equal KL, grade",
}
display(Markdown(chapter_seeds.seeds_table(folder.name, by_seed, metrics, seed)))

# %% tags=["remove-input"]
text, kept = chapter_seeds.sign_changes(folder.name, by_seed)
lessons.explain(text, key="seeds", answer=kept)

# %% [markdown]
# ## Over eight replications
#
# `make methods` trains this chapter's methods in eight replications, each with records, exam and
# training from a seed of its own, and adds a DPO run that stops once it is as far from dSFT as RLOO. Rows, claims and margins
# were fixed beforehand (`benchmarks/protocol-methods.md`). [Chapter 08](08_ablations) explains the verdicts; the column *80 %
# power* has the smallest difference that one such comparison finds four times in five.

# %% tags=["remove-input"]
lessons.predict(
    "Take the replications one by one. In how many of the claims below do *all* of "
    "them agree which of the two is ahead?",
    ["in fewer than half", "in half or more, but not in all", "in all"],
    key="replications",
)

# %% tags=["hide-output"]
study = replications.family_results("reward models")
display(Markdown(replications.family_table(study)))

# %% tags=["remove-input"]
this_seed = {
    "best_of_8_beats_dsft": gain.mean,
    "training_beats_best_of_8": ddpo_point["grade"] - picked.mean(),
    "rloo_adds": by_model["grade"] - start_point["grade"],
    "scaled_ranks_better": few_accuracy["scaled"] - few_accuracy["regular"],
    "rating_first_ranks_better": (
        few_accuracy["rating, then scaled"] - few_accuracy["scaled"]
    ),
}
lessons.explain(
    replications.one_seed_beside(study, this_seed)
    + "\n\nThe settings differ as well. The study grades both turns of the exam, this "
    f"chapter answers to {len(asked)} held-out prompts. Its RLOO makes {STEPS} steps, "
    "at a learning rate that was searched. Its reward models train on all pairs; those "
    f"compared here train on {len(few)}.",
    key="replications",
    answer=replications.unanimity(study),
)

# %% [markdown]
# ## Your turn with your own data
#
# Set `preferences` to a file as in [dDPO](05_ddpo); everything up to *Labels and truth* then runs on your pairs
# (strengths need `score_chosen` and `score_rejected`). The rest needs grades, and our rule knows only its own world:
# replace `grade` by a function of prompt and answer that returns a number, such as a call to a judge.
#
# Then check: is held-out accuracy above one half, with its interval? Does the reward model prefer the longer answer,
# whatever it says? Does a person who reads twenty of its best of eight agree?

# %% [markdown]
# ## Recap
#
# 1. *A number from pairs*: equation {eq}`eq-10-bt` and [its gradient](ex-10-pull); a constant per prompt is free.
# 2. *Strength*: [a weight in the loss](ex-10-scaled); intervals before verdicts.
# 3. *Best of n*: [every n from one set of samples](ex-10-best), and a random control.
# 4. *Reinforcement learning*: [the leave-one-out baseline](ex-10-rloo), the clip, the KL penalty.
# 5. *PPO*: [advantages from a value head](ex-10-gae), clipped losses, a penalty per token.
# 6. *Over-optimisation*: reward, grade and right answers [at equal KL divergence](ex-10-distance).
#
# ## References
#
# - {cite:t}`ouyang2022instructgpt`: reward model and PPO on people's comparisons.
# - {cite:t}`wang2024helpsteer2preference`: strength, three losses, regression first.
# - {cite:t}`ahmadian2024rloo`: RLOO. {cite:t}`schulman2017ppo`: PPO. {cite:t}`schulman2015gae`: its advantages.
# - {cite:t}`tunstall2023zephyr`: dPPO, and the case for dDPO.
# - {cite:t}`gao2022scaling`: over-optimisation, and the estimator of best of n.
# - {cite:t}`bradley1952rank`: the model of paired comparisons.

# %% tags=["remove-cell"]
artefacts.write_metrics(folder, metrics)
