# %% [markdown]
# # Reward margins: how to read a preference run's log
#
# [Chapter 05](05_ddpo) left a model and a log. Such a log looks alarming: rewards are negative, the evaluation loss rises, the
# chosen answers become *less* likely. All three hold for the published log of Zephyr-7B-beta {cite:p}`tunstall2023zephyr`.
# This chapter says which shape of each curve is normal, and answers every newcomer's question: *is my DPO broken?*

# %% [markdown]
# ## What you will be able to do
#
# 1. Compute implicit rewards, margins and accuracy, with an interval, from four log-probabilities per pair.
# 2. Read every curve of a DPO log, and tell normal from broken.
# 3. Recover β and the reference's log-probabilities from a log that prints neither.
# 4. Say on how many examples an accuracy was measured, and how far to trust it.
# 5. Explain how a chosen answer can become less likely while its margin grows, and measure it token by token.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (`preferences` takes pairs of your own)
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
import copy
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML, display

from zephyr_utils import chat, diagnostics, exercises, figures, lessons, training
from zephyr_utils.data.records import load_records
from zephyr_utils.evaluation.intervals import bootstrap_interval, wilson_interval
from zephyr_utils.explorers.microscope import Microscope
from zephyr_utils.explorers.reward_margins import Margins
from zephyr_utils.explorers.weights import pack_models
from zephyr_utils.figures import before_after_table
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.miniature.world import understand
from zephyr_utils.pipeline.artefacts import write_metrics
from zephyr_utils.pipeline.pipeline import MARGINS, Pipeline
from zephyr_utils.published import ZEPHYR_DPO_LOG, published_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
# pairs whose tokens are looked at: a large model takes seconds for each
looked_at = 96 if pipeline.scale == "miniature" else 12

# %% [markdown]
# ## Four numbers per pair
#
# A DPO log rests on four log-probabilities per pair: of the chosen answer $y_w$ and the rejected answer $y_l$, each under the
# policy π (the model in training) and under the frozen [reference model](../glossary), here dSFT's. They are sums over an
# answer's tokens, the end-of-sequence token included. On the held-out pairs:

# %%
made = pipeline.margins()
measured_sums = np.load(made.folder / "log_probs.npz")
# in double precision: a small margin is the difference of two large numbers
sums = {name: values.astype(np.float64) for name, values in measured_sums.items()}
held_out = load_records(made.folder / "held_out.parquet", "preference").records
beta = pipeline.recipe("ddpo")["beta"]
for name, values in sums.items():
    print(f"{name:19s} {len(values)} pairs, mean {values.mean():8.2f} nats")

# %% [markdown]
# The miniature also has what nobody knows about UltraFeedback, the *truth*. Its judge rates with noise
# ([Chapter 03](03_ai_feedback)); the same rules without noise say whether a label is right, wrong, or a toss-up between
# equally good answers.

# %%
def question(pair):
    return pair["chosen"][-2]["content"]


def exact_grades(pair):
    return [
        grade_turn([question(pair)], [pair[side][-1]["content"]], 1)
        for side in ("chosen", "rejected")
    ]


def label_kind(pair):
    chosen, rejected = exact_grades(pair)
    if chosen is None:
        # not of the miniature's world: your own data, or another scale
        return "unknown"
    gap = chosen.score - rejected.score
    return "right" if gap > 0 else "wrong" if gap < 0 else "toss-up"


# %% [markdown]
# First a pair whose label is right (where no truth is known, the first of all):

# %%
def show_pair(i):
    print(f"label {kinds[i]}; asked:", question(held_out[i])[:300])
    for side in ("chosen", "rejected"):
        before, after = sums[f"reference_{side}"][i], sums[f"policy_{side}"][i]
        print(
            f"{side + ':':9s} {held_out[i][side][-1]['content'][:300]!r}\n          "
            f"{before:.2f} -> {after:.2f} nats"
        )


kinds = np.array([label_kind(pair) for pair in held_out])
one = int(np.argmax(kinds == "right"))
show_pair(one)

# %% [markdown]
# ### Step 1: from log-probabilities to a margin
#
# A policy trained against a reference *acts as if* it had the [implicit reward](../glossary) {cite:p}`rafailov2023dpo`
#
# $$r(x, y) = \beta \left( \log \pi(y \mid x) - \log \pi_{\mathrm{ref}}(y \mid x) \right),$$ (eq-06-reward)
#
# up to a term of the prompt alone. In the difference of two rewards, the **reward margin**, that term cancels:
#
# $$m = r(x, y_w) - r(x, y_l).$$ (eq-06-margin)
#
# A pair with $m > 0$ is *ranked correctly*; we also say *learned*. The share of such pairs is the **accuracy**.

# %% [markdown]
# ````{exercise} From four log-probabilities to an accuracy
# :label: ex-06-rewards
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `rewards_and_accuracy`. The first four arguments are arrays of log-probabilities, one entry per pair. Return three
# things: the implicit rewards of the chosen answers, those of the rejected answers (two arrays), and the accuracy, a number.
# ````

# %% tags=["exercise"]
def rewards_and_accuracy(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    ...


exercises.check_rewards_and_accuracy(rewards_and_accuracy)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The same line twice, {eq}`eq-06-reward`, once for each side. The arrays are subtracted entry by entry.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# A comparison of two arrays gives True or False for each pair, and the mean of those is a share. Is a margin of exactly 0 a
# pair that is ranked correctly?
# ```

# %% [markdown]
# `````{solution} ex-06-rewards
# :class: dropdown
# ```python
# def rewards_and_accuracy(
#     policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
# ):
#     chosen = beta * (policy_chosen - reference_chosen)
#     rejected = beta * (policy_rejected - reference_rejected)
#     return chosen, rejected, np.mean(chosen > rejected)
# ```
# `````

# %%
by_hand = exercises.yours(rewards_and_accuracy, exercises.check_rewards_and_accuracy)
chosen, rejected, accuracy = by_hand(**sums, beta=beta)
margins = chosen - rejected
print(f"that pair: {chosen[one]:.3f} - ({rejected[one]:.3f}) = {margins[one]:.3f}")
print(f"all: mean margin {margins.mean():.3f}, accuracy {accuracy:.3f}")

# %% [markdown]
# The package's version refuses invalid input (unequal lengths, NaN, a β of 0) and adds 95 % intervals: Wilson's of the
# accuracy, right for few pairs too; of the mean margin a [bootstrap](../glossary)'s, the middle 95 % of 2,000 resamples.

# %%
measured = diagnostics.reward_margins(**sums, beta=beta)
assert np.allclose(measured.margins, margins), (
    "the two versions differ: compare the signs in rewards_and_accuracy"
)
print("accuracy   ", measured.accuracy)
print("mean margin", measured.mean_margin)
print("ties       ", measured.n_ties)

# %% [markdown]
# (Chapter 05 printed slightly other figures: during training only the first held-out pairs are evaluated.)
#
# ### Step 2: where every run starts
#
# Before the first *optimiser step* (from here on: step) the policy *is* the reference, and all log-ratios are 0.

# %% tags=["remove-input"]
lessons.predict(
    "Which accuracy did the run log before its first step?",
    ["0", "one half", "that of ranking the answers by the dSFT model's likelihood"],
    0,
    key="start",
)

# %% tags=["hide-output"]
log = diagnostics.read_training_log(pipeline.ddpo().folder / training.LOG)
for name in ("step", "rewards/chosen", "rewards/margins", "rewards/accuracies", "loss"):
    print(f"{name:19s} {log.evaluation[name][0]:.4f}")

# %% tags=["remove-input"]
lessons.explain(
    f"{log.evaluation['rewards/accuracies'][0]:.0f}: every margin is exactly zero, and "
    "the trainer counts margins *above* zero. The dSFT model does rank answers by "
    "likelihood, but rewards measure only what has changed since. The loss is ln 2, "
    f"logged {log.evaluation['loss'][0]:.4f}, whichever model both are (Chapter 05).",
    key="start",
)

# %% [markdown]
# ### Step 3: the loss is a function of the margins alone
#
# Equation 1 of the paper is the mean of $-\log \sigma(m)$ over the pairs, so our lists must give the evaluation loss that the
# trainer logged last, although it used an adapter beside the weights and we the merged model. (A trainer in bfloat16 keeps
# eight bits of each logit where we keep 24, so over its few pairs the two may then be some hundredths apart.)

# %%
def pair_losses(margins):
    return np.logaddexp(0, -margins)  # -log sigmoid(m), without overflow


evaluated = pipeline.ddpo().results["evaluated_pairs"]
watched = slice(evaluated)  # the pairs that the trainer measured on the way
ours, logged = pair_losses(margins[watched]).mean(), log.evaluation["loss"][-1]
print(f"from the margins {ours:.4f}, logged {logged:.4f}")
assert abs(ours - logged) < (0.05 if pipeline.recipe("ddpo")["bf16"] else 0.02), (
    "not the same run: delete 05_ddpo and 06_reward_margins, and run again"
)

# %% [markdown]
# ### Step 4: a mean margin hides its spread
#
# The loss is convex in $m$, so by Jensen's inequality its mean is *at least* the loss at the mean margin. The gap grows with
# the spread.

# %%
at_the_mean = pair_losses(margins.mean())
print(
    f"loss at the mean margin {at_the_mean:.4f} <= "
    f"mean loss {pair_losses(margins).mean():.4f}"
)
assert at_the_mean <= pair_losses(margins).mean(), (
    "Jensen's inequality cannot fail: look for NaN among the margins"
)

# %% [markdown]
# The log of Zephyr-7B-beta has 58 evaluations in three epochs. At the last:

# %%
zephyr = diagnostics.read_training_log(ZEPHYR_DPO_LOG)
mean_margin = zephyr.evaluation["rewards/margins"][-1]
print(
    f"Zephyr's last mean margin: {mean_margin:.4f}; "
    f"a pair with just that margin has the loss {pair_losses(mean_margin):.4f}"
)

# %% tags=["remove-input"]
lessons.predict(
    "Which evaluation loss is in the same row?",
    ["about 0.02", "about 0.2", "about 0.75"],
    2,
    key="jensen",
)

# %% tags=["hide-output"]
last = {
    name: float(zephyr.evaluation[name][-1])
    for name in ("loss", "rewards/margins", "rewards/accuracies")
}
print("Zephyr:", ", ".join(f"{name} {value:.4f}" for name, value in last.items()))
missed = margins <= 0
loss_of_missed = pair_losses(margins)[missed].sum() / pair_losses(margins).sum()
print(
    f"ours: {100 * missed.mean():.0f} % of the pairs are not learned and make "
    f"{100 * loss_of_missed:.0f} % of the loss"
)

# %% tags=["remove-input"]
lessons.explain(
    f"**{last['loss']:.4f}**, worse than the ln 2 of a model that has learned nothing, "
    f"at an accuracy of {last['rewards/accuracies']:.2f}. A large positive margin "
    "costs next to nothing, a large negative one about its own size, so "
    f"{100 * (1 - last['rewards/accuracies']):.0f} % of the pairs can make nearly the "
    "whole loss. The model is not wrong more often; it is *more certain* where it is "
    "wrong.",
    key="jensen",
)

# %% [markdown]
# ## Two logs side by side
#
# A log's **training** rows average over the batches since the last row, other pairs every time. Its **evaluation** rows are
# measured on one fixed set. Of Zephyr's training rows the card prints only the loss. The run took about 5,800 steps, three
# epochs.

# %% tags=["remove-input"]
lessons.predict(
    "Zephyr's evaluation loss rises in the end. In which epoch is it lowest?",
    ["the first", "the second", "the third"],
    0,
    key="best",
)

# %% tags=["hide-input", "hide-output"]
def draw(axes, log, names, kind="evaluation"):
    columns = getattr(log, kind)
    for name in names:
        n = SERIES[name.split("/")[-1]]
        there = np.isfinite(columns[name])
        axes.plot(
            columns["step"][there], columns[name][there],
            label=f"{name.split('/')[-1]}, {kind}", color=figures.COLOURS[n],
            linestyle="-" if kind == "evaluation" else ":",
            linewidth=1.8 if kind == "evaluation" else 1.4,
        )


def side_by_side(names, ylabel, kinds=("evaluation",)):
    fig, panels = figures.figure(2, width=10, height=3.6, sharey=True)
    for axes, (title, one_log) in zip(panels, LOGS.items()):
        for kind in kinds:
            draw(axes, one_log, names, kind)
        for step in diagnostics.epoch_steps(one_log):
            axes.axvline(step.step_after, color="#1a1a1a", linestyle="--")
        axes.set(xlabel="step", title=title)
    panels[0].set_ylabel(ylabel)
    panels[1].legend()
    return fig


SERIES = {"chosen": 0, "rejected": 1, "margins": 2, "accuracies": 0, "loss": 0}
LOGS = {"Zephyr-7B-beta": zephyr, f"ours, {pipeline.scale}": log}
rewards = [f"rewards/{name}" for name in ("chosen", "rejected", "margins")]
alt = "; ".join(
    f"{title}: chosen ends at {one_log.evaluation[rewards[0]][-1]:.2f}, rejected at "
    f"{one_log.evaluation[rewards[1]][-1]:.2f}, margin "
    f"{one_log.evaluation[rewards[2]][-1]:.2f}"
    for title, one_log in LOGS.items()
)
figures.show(
    side_by_side(rewards, "held-out reward"), alt=alt,
    caption="Held-out rewards; Zephyr's margin ends at "
    f"{mean_margin:.1f}, ours at {log.evaluation[rewards[2]][-1]:.1f}. "
    "Dashed: the end of an epoch.",
)

# %% tags=["hide-input", "hide-output"]
alt = "; ".join(
    f"{title}: accuracy ends at {one_log.evaluation['rewards/accuracies'][-1]:.2f}"
    for title, one_log in LOGS.items()
)
figures.show(
    side_by_side(["rewards/accuracies"], "held-out accuracy"), alt=alt,
    caption=(
        "Held-out accuracy; ours ends at "
        f"{log.evaluation['rewards/accuracies'][-1]:.2f}, Zephyr's at "
        f"{zephyr.evaluation['rewards/accuracies'][-1]:.2f}. Dashed: the end of an "
        "epoch."
    ),
)

# %% tags=["hide-input", "hide-output"]
best, own = (diagnostics.overfitting(one_log) for one_log in LOGS.values())
alt = (
    "Zephyr's training loss drops at the end of each epoch; its held-out loss is "
    f"lowest, {best.best_loss:.2f}, at step {best.best_step:.0f} and rises to "
    f"{best.last_loss:.2f}. Ours is lowest, {own.best_loss:.2f}, at step "
    f"{own.best_step:.0f} and ends at {own.last_loss:.2f}."
)
figures.show(
    side_by_side(["loss"], "loss per pair (nats)", ("training", "evaluation")), alt=alt,
    caption=(
        f"Training and held-out loss; Zephyr's held-out loss is lowest at step "
        f"{best.best_step:.0f}. Dashed: the end of an epoch."
    ),
)

steps_in_all = zephyr.evaluation["step"][-1]
accuracy_at_best = zephyr.evaluation["rewards/accuracies"][
    zephyr.evaluation["step"] == best.best_step
].item()

# %% tags=["remove-input"]
lessons.explain(
    f"At step {best.best_step:.0f} of {steps_in_all:,.0f}. The accuracy hardly changes "
    f"({accuracy_at_best:.2f} there, {last['rewards/accuracies']:.2f} at the end). "
    "What grows is the certainty, on wrong pairs as well. The authors trained on, "
    "because the judged quality of the answers kept rising (their figure 3).",
    key="best",
)

# %% [markdown]
# From the end of an epoch on, every pair has been seen before:

# %%
for title, one_log in LOGS.items():
    borders = diagnostics.epoch_steps(one_log)
    for step in borders:
        print(
            f"{title}, end of epoch {step.epoch}: "
            f"{step.loss_before:.4f} -> {step.loss_after:.4f}; "
            f"epoch means {step.mean_before:.3f} -> {step.mean_after:.3f}"
        )
    if not borders:
        print(f"{title}: one epoch, so no pair came twice")

# %% [markdown]
# These drops are memorisation, as the paper says: after one epoch its training accuracy is nearly perfect (figure 3). That
# alone is *no* fault. The accuracy on held-out pairs decides, and in the end the [judged answers](07_evaluation).
#
# ### Every curve, what is normal, what is broken
#
# [Metrics](../metrics) says what each curve measures.
#
# | curve | normal | look again |
# |---|---|---|
# | `loss`, training | starts at ln 2 = 0.693; drops at each epoch's end | far from ln 2 at step 1; exactly 0; NaN |
# | `eval_loss` | falls, then often rises | rises *while the accuracy falls* |
# | `rewards/chosen` | near 0 or negative | exactly 0 to the end: nothing moved |
# | `rewards/rejected` | negative, below the chosen | above the chosen: answers swapped? |
# | `rewards/margins` | grows, as does its spread | shrinks; not the difference of the two |
# | `rewards/accuracies` | 0.7 to 0.85 on UltraFeedback | one half: not learning; 1.0: a leak? |
# | `logps/chosen`, `logps/rejected` | drift down with the rewards | fall by more than half of their first value, as from −100 to −160 |
# | `grad_norm` | falls as pairs settle | spikes, NaN |
#
# ````{exercise} Is this log broken?
# :label: ex-06-diagnosis
#
# **Difficulty** ●●●●○ · **Minutes** 20
#
# Write `diagnosis(log)`. `log` maps `"loss"`, `"chosen"`, `"rejected"` and `"margins"` to arrays, one entry per evaluation,
# the first before any step. Return the name of the first fault that applies, in this order:
#
# - `"start"`: the policy was not the reference, so the first loss is more than 0.01 from ln 2;
# - `"arithmetic"`: in some row the margin is not chosen minus rejected, to 0.001;
# - `"frozen"`: no reward ever moved;
# - `"direction"`: the last margin is below 0;
# - otherwise `"fine"`. A falling chosen reward and a rising loss are fine.
# ````

# %% tags=["exercise"]
def diagnosis(log):
    ...


exercises.check_diagnosis(diagnosis)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Two faults are about one row (which?), two about all rows.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# `log["chosen"].any()` is False if all are 0. For the sums: `np.abs(chosen - rejected - margins).max()`.
# ```

# %% [markdown]
# `````{solution} ex-06-diagnosis
# :class: dropdown
# ```python
# def diagnosis(log):
#     chosen, rejected, margins = log["chosen"], log["rejected"], log["margins"]
#     if abs(log["loss"][0] - np.log(2)) > 0.01:
#         return "start"
#     if np.abs(chosen - rejected - margins).max() > 1e-3:
#         return "arithmetic"
#     if not chosen.any() and not rejected.any():
#         return "frozen"
#     return "direction" if margins[-1] < 0 else "fine"
# ```
# `````

# %% [markdown]
# On both real logs (Zephyr's first evaluation is at step 100):

# %%
diagnose = exercises.yours(diagnosis, exercises.check_diagnosis)


def columns_of(one_log):
    names = ("chosen", "rejected", "margins")
    columns = {name: one_log.evaluation[f"rewards/{name}"] for name in names}
    return columns | {"loss": one_log.evaluation["loss"]}


for title, one_log in LOGS.items():
    print(f"{title}: {diagnose(columns_of(one_log))}")

# %% [markdown]
# Zephyr's `"start"` is not a fault: its first row was logged after 100 steps.
#
# ## What a log gives away: β and the reference
#
# ### Step 5: one fixed set, two constants
#
# Average {eq}`eq-06-reward` over the evaluation set, at each evaluation $t$:
#
# $$\bar r_t = \beta \, \overline{\log \pi_t} - \beta \, \overline{\log \pi_{\mathrm{ref}}}.$$ (eq-06-line)
#
# The second term never changes: reference and pairs stay the same. Log-probabilities of −10, −12 and −15 nats with rewards of
# 0, −0.4 and −1.0, for example, come from a β of 0.2 and a reference at −10. The card of Zephyr-7B-beta names no β among its
# hyperparameters; its log gives it away.
#
# ````{exercise} β from a log
# :label: ex-06-implied-beta
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `my_beta(rewards, logps)`: given the rewards and log-probabilities of a run's evaluations, as arrays, return the β
# that it was trained with. The reference is unknown.
# ````

# %% tags=["exercise"]
def my_beta(rewards, logps):
    ...


exercises.check_implied_beta(my_beta)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Dividing a reward by its log-probability leaves out the reference. What becomes of that constant in the *difference* of two
# rows?
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# Plotted against the log-probabilities, the rewards lie on a line. `np.polyfit(x, y, 1)` returns slope and intercept.
# ```

# %% [markdown]
# `````{solution} ex-06-implied-beta
# :class: dropdown
# ```python
# def my_beta(rewards, logps):
#     return np.polyfit(logps, rewards, 1)[0]
# ```
# `````

# %% [markdown]
# So the rewards, plotted over the log-probabilities, lie on a line of slope β that crosses zero at the reference's. For
# Zephyr's log (the paper says 0.1), your slopes, and the package's, which fits both sides at once and says how certain it is:

# %%
beta_of = exercises.yours(my_beta, exercises.check_implied_beta)
for side in ("chosen", "rejected"):
    slope = beta_of(
        zephyr.evaluation[f"rewards/{side}"], zephyr.evaluation[f"logps/{side}"]
    )
    print(f"{side:8s} slope {slope:.5f}")
found = diagnostics.implied_beta(zephyr)
print("Zephyr:", found)
print(
    f"        reference: chosen {found.reference_chosen:.2f}, "
    f"rejected {found.reference_rejected:.2f} nats; "
    f"largest residual {found.largest_residual:.1e}"
)
assert abs(found.beta - 0.1) < 1e-4, (
    "this is not the log on the model card: read ZEPHYR_DPO_LOG"
)

# %% [markdown]
# In our own run the hidden number can be checked against the dSFT model:

# %%
own_beta = diagnostics.implied_beta(log)
truth = sums["reference_chosen"][watched].mean()
print("ours:", own_beta)
print(
    f"      reference, chosen: {own_beta.reference_chosen:.3f} from the log, "
    f"{truth:.3f} from the model"
)
assert abs(own_beta.beta - beta) < 0.01 * beta, (
    f"the run used another beta than the recipe's {beta}: which recipe was read?"
)

# %% tags=["remove-input"]
lessons.predict(
    "There are more training rows, with the same columns. Will the regression on "
    "*training* rows return β too?",
    ["yes, and more exactly", "no"],
    1,
    key="training-rows",
)

# %% tags=["hide-output"]
train = log.training
slope, zero = np.polyfit(train["logps/rejected"], train["rewards/rejected"], 1)
residual = train["rewards/rejected"] - slope * train["logps/rejected"] - zero
print(
    f"training rows: slope {slope:.4f}, largest residual {np.abs(residual).max():.3f}"
)
print(
    f"evaluation rows: slope {own_beta.beta:.4f}, "
    f"largest residual {own_beta.largest_residual:.1e}"
)

# %% tags=["remove-input"]
lessons.explain(
    f"The slope is {slope:.3f} instead of {beta:g}: each training row averages over "
    "*other pairs*, with another mean of the reference, and more rows do not help. "
    "Only a fixed evaluation set makes rows comparable.",
    key="training-rows",
)

# %% [markdown]
# ## On how many examples?
#
# Look closely at the accuracies on Zephyr's card:

# %%
accuracies = zephyr.evaluation["rewards/accuracies"]
print(accuracies[:12])

# %% [markdown]
# ````{exercise} On how many examples was it measured?
# :label: ex-06-measured-on
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# A log prints accuracies with four decimals. Write `measured_on(accuracies)`: return the smallest n, up to 1,000, such that
# every accuracy is a multiple of 1/n, rounded to four decimals. For 0.3333, 0.5 and 0.6667 it is 6.
# ````

# %% tags=["exercise"]
def measured_on(accuracies):
    ...


exercises.check_measured_on(measured_on)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# For a given n, the nearest multiple of 1/n to an accuracy a is `round(a * n) / n`.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# Two thirds are printed as 0.6667. How far may a printed figure be from the true one, at most?
# ```

# %% [markdown]
# `````{solution} ex-06-measured-on
# :class: dropdown
# ```python
# def measured_on(accuracies):
#     for n in range(1, 1001):
#         if np.all(np.abs(np.round(accuracies * n) / n - accuracies) < 0.51e-4):
#             return n
# ```
# `````

# %%
examples = exercises.yours(measured_on, exercises.check_measured_on)
print("Zephyr:", examples(accuracies), diagnostics.accuracy_examples(zephyr))
print("ours:", diagnostics.accuracy_examples(log))

# %% [markdown]
# The run kept 1,000 evaluation rows, a share for each of 16 GPUs, and the trainer of that time logged the *first process
# alone*: about 64 rows. (Today's TRL gathers them all.) How far can that accuracy be trusted?

# %%
print("Zephyr's last accuracy:", wilson_interval(round(accuracies[-1] * 64), 64))
print(f"ours, {len(margins)} pairs:", measured.accuracy)

# %% tags=["remove-input"]
lessons.predict(
    "Draw 64 of our held-out pairs at random. How often does their accuracy differ "
    "from that of all held-out pairs by more than 4 percentage points?",
    ["one time in a hundred", "one in ten", "one in three, or more"],
    key="sixty-four",
)

# %% tags=["hide-output"]
rng = np.random.default_rng(0)
learned = margins > 0
size = min(64, len(learned) // 2)
draws = np.array([rng.permutation(learned)[:size].mean() for _ in range(4000)])
off = float(np.mean(np.abs(draws - learned.mean()) > 0.04))
p, n_all = learned.mean(), len(learned)
error = np.sqrt(p * (1 - p) / size)
finite = error * np.sqrt((n_all - size) / (n_all - 1))
print(
    f"{size} of {n_all} pairs: standard deviation {100 * draws.std():.1f} points, "
    f"by the formula {100 * finite:.1f}; off by more than 4 points in {100 * off:.0f} %"
)
assert abs(finite - draws.std()) < 0.005, (
    "simulation and formula differ: did you draw with replacement?"
)

# %% tags=["remove-input"]
lessons.explain(
    f"In {100 * off:.0f} % of the draws. A share $p$ of $n$ independent pairs has the "
    f"standard error $\\sqrt{{p(1-p)/n}}$, here {100 * error:.1f} points (times "
    f"$\\sqrt{{(N-n)/(N-1)}}$ for draws without replacement from $N$). *One* "
    "run's curve is steadier: its evaluations all use the *same* pairs. *Two runs* a "
    "few points apart, on different pairs, are indistinguishable.",
    key="sixty-four", answer=2 if off > 0.2 else 1 if off > 0.04 else 0,
)

# %% [markdown]
# ````{exercise} How many pairs does an accuracy need?
# :label: ex-06-pairs-needed
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `pairs_needed(accuracy, half_width)`: return the smallest whole number of pairs with which the 95 % interval of an
# accuracy $p$ (1.96 standard errors to each side) reaches at most `half_width` to each side. The standard error is
# $\sqrt{p(1-p)/n}$.
# ````

# %% tags=["exercise"]
def pairs_needed(accuracy, half_width):
    ...


exercises.check_pairs_needed(pairs_needed)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The half-width is 1.96 standard errors. Write that down as an equation in n.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# Square both sides before you solve for n; then `math.ceil` or `int(np.ceil(...))`.
# ```

# %% [markdown]
# `````{solution} ex-06-pairs-needed
# :class: dropdown
# ```python
# def pairs_needed(accuracy, half_width):
#     return int(np.ceil(1.96**2 * accuracy * (1 - accuracy) / half_width**2))
# ```
# To know 0.78 to within one point takes 6,593 pairs. The published test split has 2,000.
# `````

# %% [markdown]
# ## Pair by pair
#
# All held-out pairs, before and after training:

# %% tags=["hide-input"]
fig = figures.margin_histogram(np.zeros_like(margins), margins)
most = np.histogram(margins, bins=40)[0].max()
fig.axes[0].set_ylim(0, 1.6 * most)  # the bar of the zeros would dwarf all others
low, high = np.quantile(margins, [0.05, 0.95])
alt = (
    f"Before dDPO all margins are 0. After it {100 * np.mean(margins > 0):.0f} % lie "
    "above 0, "
    f"nine in ten of them between {low:.1f} and {high:.1f}."
)
figures.show(
    fig,
    alt=alt,
    caption=(
        "Reward margins of the held-out pairs. Before dDPO all are 0 (that bar is cut "
        f"off at the top); after it {100 * np.mean(margins > 0):.0f} % lie above 0."
    ),
)

# %% [markdown]
# Which were not learned? (Wilson's intervals again: the bootstrap of a group without exceptions has no width.)

# %%
def by(groups):
    for name, here in groups.items():
        if here.any():
            share = wilson_interval(int(learned[here].sum()), int(here.sum()))
            print(
                f"{name:28s} {here.sum():4d} pairs, learned {share}, "
                f"mean margin {margins[here].mean():+.2f}"
            )

# %% tags=["remove-input"]
lessons.predict(
    "The training labels were noisy, too. Where a held-out *label is wrong*, will the "
    "margin side with the label or with the truth?",
    ["with the label", "with the truth", "these pairs are too few to say"],
    key="truth",
)

# %% tags=["hide-output"]
by(
    {
        f"label {kind}": kinds == kind
        for kind in ("right", "toss-up", "wrong", "unknown")
    }
)
not_learned = Counter(kinds[~learned].tolist()).most_common()
print("not learned:", ", ".join(f"{n:,} {kind}" for kind, n in not_learned))
wrong = kinds == "wrong"
side = None
if wrong.any():
    sided = wilson_interval(int(learned[wrong].sum()), int(wrong.sum()))
    side = 0 if sided.low > 0.5 else 1 if sided.high < 0.5 else 2

# %% tags=["remove-input"]
lessons.explain(
    "No label here is known to be wrong."
    if side is None
    else f"It follows a wrong label in {100 * sided.estimate:.0f} % of {wrong.sum()} "
    f"pairs (interval {100 * sided.low:.0f} to {100 * sided.high:.0f} %). "
    + (
        "What separates these answers is what the wrong labels reward too.",
        "Noise cancels over thousands of pairs, the preference behind it does not: the "
        "model is *less noisy than its labels*.",
        "The interval includes one half.",
    )[side]
    + " An accuracy against noisy labels has a ceiling below one. But the model need "
    "not know the truth: noise flips labels where two answers are close, and these may "
    "differ in manner alone.",
    key="truth",
    answer=side,
)

# %% [markdown]
# ### Content or manner?
#
# In the miniature a chosen answer can be better in two ways: *right* where the other is wrong, or *friendlier*, with an
# opening and an offer at the end. The judge's rules reward both, being right more. Of pairs from elsewhere neither is known.

# %%
def difference(pair):
    chosen, rejected = exact_grades(pair)
    if chosen is None:
        return "unknown"
    content = {
        1: "chosen right", 0: "both right" if chosen.right else "both wrong",
        -1: "chosen wrong",
    }[chosen.right - rejected.right]
    manner = {1: "friendlier", 0: "as friendly", -1: "less friendly"}[
        int(np.sign(chosen.friendly - rejected.friendly))
    ]
    return f"{content}, {manner}"

# %% tags=["remove-input"]
lessons.predict(
    "Which does the model learn more often: pairs that differ in content alone, or in "
    "manner alone?",
    ["content alone", "manner alone", "about equally often"],
    key="manner",
)

# %% tags=["hide-output"]
differences = np.array([difference(pair) for pair in held_out])
by(
    {
        name: differences == name
        for name, _ in Counter(differences.tolist()).most_common(8)
    }
)
alone = {
    "content": learned[differences == "chosen right, as friendly"],
    "manner": learned[differences == "both right, friendlier"],
}
counted = all(len(group) for group in alone.values())
shares = {name: group.mean() if len(group) else 0.0 for name, group in alone.items()}
lead = shares["manner"] - shares["content"]

# %% tags=["remove-input"]
lessons.explain(
    f"Content alone is learned in {100 * shares['content']:.0f} % of its pairs, manner "
    f"alone in {100 * shares['manner']:.0f} %. "
    + (
        "A friendlier answer shows in its first two words, whatever was asked; a right "
        "one only to those who *know* the answer."
        if lead > 0.05
        else "Content is ahead, as the judge weights it."
        if lead < -0.05
        else "Neither is clearly ahead."
    )
    + " A worry about all preference training: what judges reward *visibly* (length, "
    "tone, form) may be learned before what they mean."
    if counted
    else "Of these pairs too few are of a known kind.",
    key="manner",
    answer=(1 if lead > 0.05 else 0 if lead < -0.05 else 2) if counted else None,
)

# %% [markdown]
# A test that needs no truth, for your own data: are pairs learned more often where the chosen answer is the *longer* one
# ([length bias](04_preference_pairs))?

# %%
lengths = {
    side: np.array([len(pair[side][-1]["content"]) for pair in held_out])
    for side in ("chosen", "rejected")
}
longer = lengths["chosen"] > lengths["rejected"]
by({"chosen longer": longer, "not longer": ~longer})

# %% [markdown]
# And where the judge rated the two far apart?

# %%
if all("score_chosen" in pair for pair in held_out):
    gaps = np.array([p["score_chosen"] - p["score_rejected"] for p in held_out])
    small = gaps <= np.median(gaps)
    by({"small score gap": small, "large score gap": ~small})
else:
    print("Not all pairs have scores: they are not divided by their gap.")

# %% [markdown]
# By category, named as in MT-Bench (data of your own is all "other"):

# %%
asked = [understand([question(pair)]) for pair in held_out]
categories = [known.category if known else "other" for known in asked]
by({name: np.array(categories) == name for name in sorted(set(categories))})

# %% [markdown]
# ### Browse them
#
# Filter for pairs that were not learned, and read some: which answer would *you* have chosen? (At most 200, evenly spaced by
# margin.)

# %% tags=["hide-input"]
notes = {
    "right": "The label is right.",
    "wrong": "The label is wrong: the rejected answer is the better one.",
    "toss-up": "Both answers are equally good: the label is a toss-up.",
}
explorer = Margins(
    held_out,
    measured,
    groups=categories,
    notes=[notes.get(kind, "") for kind in kinds],
    show="not",
)
explorer

# %% [markdown]
# The lowest and the highest margin of all:

# %%
for i in (int(margins.argmin()), int(margins.argmax())):
    print(f"--- margin {margins[i]:+.2f}")
    show_pair(i)

# %% [markdown]
# ## Displacement: the chosen answer may fall
#
# ### Step 6: what the loss cannot see
#
# Add the same number to both rewards of a pair: margin and loss stay the same. Whether the chosen answer becomes less likely
# is not in the loss.

# %%
shifted = pair_losses((chosen - 5) - (rejected - 5))
print(
    f"loss {pair_losses(margins).mean():.6f}; "
    f"with both rewards 5 lower {shifted.mean():.6f}"
)
assert np.allclose(shifted, pair_losses(margins)), (
    "a common shift has to cancel: check the brackets"
)

# %% [markdown]
# ### Step 7: why it falls although its own gradient pushes it up
#
# Take answers of a single token, with logits $z_y = w_y \cdot h$ from a hidden state $h$ and an output vector $w_y$ for each
# answer. The gradient of $\log \pi(y_w) - \log \pi(y_l)$ with respect to $h$ is $w_w - w_l$. A small step
# $\eta (w_w - w_l)$ always widens that difference, by $\eta \lVert w_w - w_l \rVert^2$. The chosen answer itself changes by
#
# $$\Delta \log \pi(y_w) \approx \eta \, (w_w - w_l) \cdot \Big( w_w - \sum_y \pi(y)\, w_y \Big),$$ (eq-06-displacement)
#
# which may be negative. If the two answers are alike, $w_w - w_l$ is short and may point towards a *third* answer, which gains
# from both: **likelihood displacement** {cite:p}`razin2024unintentional`. In two dimensions:

# %%
# output vectors: chosen, rejected, a third answer
vectors = np.array([[1.0, 0.0], [0.9, -0.3], [1.0, 2.0]])
hidden = np.array([0.0, 0.6])


def log_probs(hidden):
    logits = vectors @ hidden
    return logits - np.log(np.exp(logits).sum())


step = 0.001 * (vectors[0] - vectors[1])
change = log_probs(hidden + step) - log_probs(hidden)
formula = step @ (vectors[0] - np.exp(log_probs(hidden)) @ vectors)
print(
    f"chosen {change[0]:+.2e} (formula {formula:+.2e}), rejected {change[1]:+.2e}, "
    f"third {change[2]:+.2e}"
)
assert change[0] < 0 < change[0] - change[1], (
    "the margin has to grow while the chosen answer falls"
)

# %% [markdown]
# How far did it go in the two runs? (Zephyr's reference is that of the regression.)

# %%
for title, one_log in LOGS.items():
    moved = diagnostics.displacement(one_log)
    share = (
        f" ({100 * moved.chosen_share:+.0f} % of its size)"
        if moved.chosen_share is not None
        else ""
    )
    print(
        f"{title}: chosen {moved.chosen:+.1f} nats{share}, "
        f"rejected {moved.rejected:+.1f}; lowest on the way {moved.lowest_chosen:+.1f}"
    )

# %% [markdown]
# Zephyr's chosen answers, at −254 nats, lost another 45. A factor of $e^{-45}$ sounds like ruin, but it is spread over a few
# hundred tokens of an answer that the model would never have given word for word. And a mean hides that pairs differ:
#
# ````{exercise} Learned, and yet less likely
# :label: ex-06-displaced-share
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `displaced_share`: among the learned pairs (margin above 0), return the share whose chosen answer became less likely.
# The arguments are arrays of the four log-probabilities, one entry per pair.
# ````

# %% tags=["exercise"]
def displaced_share(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
):
    ...


exercises.check_displaced_share(displaced_share)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# β is above 0, so the margin has the sign of the difference of log-ratios: you do not need β.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# Make a Boolean array `learned`, then take the mean of `(policy_chosen < reference_chosen)[learned]`.
# ```

# %% [markdown]
# `````{solution} ex-06-displaced-share
# :class: dropdown
# ```python
# def displaced_share(policy_chosen, policy_rejected, reference_chosen, reference_rejected):
#     learned = policy_chosen - reference_chosen > policy_rejected - reference_rejected
#     return (policy_chosen < reference_chosen)[learned].mean()
# ```
# The last filter of the explorer above shows these pairs.
# `````

# %%
displaced = exercises.yours(displaced_share, exercises.check_displaced_share)
change_chosen = sums["policy_chosen"] - sums["reference_chosen"]
change_rejected = sums["policy_rejected"] - sums["reference_rejected"]
print(f"learned, and chosen less likely: {100 * displaced(**sums):.0f} %")
for side, moved in (("chosen", change_chosen), ("rejected", change_rejected)):
    print(
        f"{side:8s} less likely in {100 * np.mean(moved < 0):.0f} %, "
        f"mean change {bootstrap_interval(moved)} nats"
    )

# %% [markdown]
# ### Which tokens moved?
#
# The log-probabilities of an answer's tokens must add up to the pipeline's sum.

# %%
@torch.no_grad()
def token_log_probs(model, tokenizer, messages):
    ids, _ = chat.encode(tokenizer, messages)
    prompt = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    logits = (
        model(torch.tensor([ids], device=model.device)).logits[0, :-1].float().cpu()
    )
    each = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return ids[len(prompt) :], each[len(prompt) - 1 :].numpy()

# %%
(before, tokenizer), (after, _) = (
    chat.load_model(pipeline.model_directory(name), dtype="float32")
    for name in ("dsft", "ddpo")
)
ids, each = token_log_probs(after, tokenizer, held_out[one]["chosen"])
expected = sums["policy_chosen"][one]
print(f"{len(ids)} tokens: {each.sum():.3f}, by the pipeline: {expected:.3f}")
assert abs(each.sum() - expected) < 0.01 * max(1, abs(expected)), (
    "a token too many or too few: mind the shift by one"
)

# %% [markdown]
# What each token of a pair gained or lost:

# %%
def token_changes(messages):
    ids, new = token_log_probs(after, tokenizer, messages)
    return ids, new - token_log_probs(before, tokenizer, messages)[1]


for side in ("chosen", "rejected"):
    ids, gained = token_changes(held_out[one][side])
    pieces = [
        f"{tokenizer.decode([token])!r} {value:+.2f}"
        for token, value in list(zip(ids, gained, strict=True))[:24]
    ]
    print(f"{side}, the first {len(pieces)} of {len(ids)} tokens:")
    print("\n".join("  ".join(pieces[i : i + 6]) for i in range(0, len(pieces), 6)))

# %% [markdown]
# Signs and sizes are easier to see in colour. The microscope puts both answers of a pair side by side, each token coloured
# by its log-ratio; below an answer are its sums and its implicit reward, above both the margin, the loss and the weight of
# the gradient. Its pairs are, in this order: the pair above, that of the highest margin, that of the lowest, and of the
# learned pairs that whose chosen answer lost most. Start where the two answers of the first pair begin to differ: which
# tokens make the margin, and how much do tokens add that both answers share? Then look at the last pair: which tokens of
# the chosen answer became less likely, and why is the pair learned all the same? (The models run in the page; at other
# scales, and where scripts are off, the numbers above are what there is.)

# %% tags=["hide-input"]
microscope = None
if pipeline.scale == "miniature" and not base_model:
    adapters = {"dSFT": pipeline.dsft(), "dDPO": pipeline.ddpo()}
    models = pack_models(
        Path(pipeline.model_directory("base")),
        {name: run.folder / training.ADAPTER for name, run in adapters.items()},
        texts=[pair["chosen"] for pair in held_out[:20]],
    )
    fell = np.where(margins > 0, change_chosen, 0).argmin()
    lie_there = dict.fromkeys((one, margins.argmax(), margins.argmin(), fell))
    microscope = Microscope(models, [held_out[int(i)] for i in lie_there], beta)
microscope

# %% [markdown]
# Over many pairs: how much of the distance between chosen and rejected answers comes from their first tokens? Openings are
# one part of it; a refusal or a false name moves wherever it is.

# %%
some = range(min(looked_at, len(held_out)))
profile = {
    side: [token_changes(held_out[i][side])[1] for i in some]
    for side in ("chosen", "rejected")
}


def upto(t):
    return np.mean(
        [
            c[:t].sum() - r[:t].sum()
            for c, r in zip(profile["chosen"], profile["rejected"], strict=True)
        ]
    )


for t in (1, 3, 5, 10):
    print(
        f"first {t:2d} tokens: {upto(t):.2f} of {upto(None):.2f} nats, "
        f"{100 * upto(t) / upto(None):.0f} %"
    )

# %% [markdown]
# ### Where did the probability go?
#
# Every token that could begin an answer: its mean probability over the questions, before and after.

# %%
@torch.no_grad()
def first_token_probabilities(model, conversations):
    rows = []
    for messages in conversations:
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        logits = model(torch.tensor([prompt], device=model.device)).logits[0, -1]
        rows.append(logits.float().softmax(-1).cpu())
    return torch.stack(rows).mean(0)


asked_of = [held_out[i]["chosen"][:-1] for i in some]
old, new = (first_token_probabilities(model, asked_of) for model in (before, after))
for token in torch.argsort((new - old).abs(), descending=True)[:10].tolist():
    print(
        f"{tokenizer.decode([token])!r:12} {100 * old[token]:6.1f} % -> "
        f"{100 * new[token]:6.1f} %"
    )

# %% [markdown]
# In an early trial the trained miniature began with the *second* word of the friendly opening ("to help! 7 plus 2 is 9."),
# although the margin had grown. No curve shows that. Read what the model *says*:

# %%
openings = {}
for name, model in (("dSFT", before), ("dDPO", after)):
    said = chat.generate(
        model, tokenizer, asked_of[:48], max_new_tokens=12, temperature=0.7, seed=seed
    )
    openings[name] = Counter(" ".join(answer.text.split()[:2]) for answer in said)
    print(
        f"{name}: "
        + ", ".join(
            f"{count} x {words!r}" for words, count in openings[name].most_common(5)
        )
    )
lower = sum(count for words, count in openings["dDPO"].items() if words[:1].islower())
print(f"dDPO answers in lower case: {lower} of {sum(openings['dDPO'].values())}")

# %% [markdown]
# ## What β does to a log
#
# ### Step 8: the same model, read with another β
#
# β steers the training, and it scales what is logged. First the second:

# %% tags=["remove-input"]
lessons.predict(
    "Read our model as if β were five times as large. What stays the same?",
    ["the accuracy", "the mean margin", "the mean loss"],
    0,
    key="beta",
)

# %% tags=["hide-output"]
log_ratios = margins / beta
for factor in (1, 5):
    read = factor * beta * log_ratios
    print(
        f"beta {factor * beta:g}: accuracy {np.mean(read > 0):.3f}, "
        f"mean margin {read.mean():.3f}, mean loss {pair_losses(read).mean():.3f}"
    )
grid = np.geomspace(beta / 30, beta * 30, 200)
losses_read = np.array([pair_losses(b * log_ratios).mean() for b in grid])
calibrated = float(grid[losses_read.argmin()])
print(f"lowest held-out loss {losses_read.min():.3f}, at beta {calibrated:.3f}")

surer = calibrated < beta
at_edge = " (the end of what we tried)" if calibrated in (grid[0], grid[-1]) else ""

# %% tags=["remove-input"]
lessons.explain(
    "A positive factor changes no sign. The margin is multiplied by it, so a margin "
    f"without its β says nothing. The loss is lowest at {calibrated:.3f}{at_edge}, "
    f"{'below' if surer else 'above'} the β of the training, {beta:g}: the model is "
    + (
        "surer of its rankings than its accuracy justifies, as Zephyr's was."
        if surer
        else "*less* sure than its accuracy would justify."
    ),
    key="beta",
)

# %% [markdown]
# The β of the lowest held-out loss is found by *temperature scaling* {cite:p}`guo2017calibration`. It **calibrates** the
# model: of the pairs ranked with a confidence of 80 %, about 80 % should be ranked correctly.
#
# *Training* with a smaller β lets the policy move further ([Chapter 05](05_ddpo)); [Chapter 08](08_ablations) tries several.

# %% [markdown]
# ## Is my DPO broken?
#
# The traffic light checks a log for all of this. Red: no healthy run shows this. Amber: look before you trust the model.
# Green: alarming perhaps, but normal.

# %%
print(diagnostics.traffic_light(zephyr, beta=0.1))
own_light = diagnostics.traffic_light(log, beta=beta)
print(own_light)

# %% [markdown]
# A light that is always green is worth nothing. So we break our own log in five ways:

# %%
def swap_sides(row):
    for kind in ("rewards", "logps"):
        a, b = f"eval_{kind}/chosen", f"eval_{kind}/rejected"
        row[a], row[b] = row[b], row[a]
    row["eval_rewards/margins"] = -row["eval_rewards/margins"]
    row["eval_rewards/accuracies"] = 1 - row["eval_rewards/accuracies"]


def no_beta(row):
    row |= {
        f"eval_rewards/{name}": 0.0
        for name in ("chosen", "rejected", "margins", "accuracies")
    }


def freeze(row):
    no_beta(row)
    row |= {f"eval_logps/{name}": -20.0 for name in ("chosen", "rejected")}


def another_reference(row):
    row["eval_rewards/chosen"] -= 2.0
    row["eval_rewards/margins"] -= 2.0


def overflow(row):
    row["eval_loss"] = float("nan")

# %% [markdown]
# Beside each light, *your* diagnosis:

# %%
history = json.loads((pipeline.ddpo().folder / training.LOG).read_text())
lights = {}
for fault in (swap_sides, no_beta, freeze, another_reference, overflow):
    rows = copy.deepcopy(history)
    for row in rows:
        if "eval_loss" in row:
            fault(row)
    broken = diagnostics.read_training_log(rows)
    lights[fault.__name__] = light = diagnostics.traffic_light(broken, beta=beta)
    print(
        f"{fault.__name__}: {light.colour}, yours {diagnose(columns_of(broken))!r}\n"
        f"    {light.reasons[0].text}"
    )
assert pipeline.own_data or all(light.colour == "red" for light in lights.values()), (
    "a broken log passed: read its reasons"
)

# %% [markdown]
# Where your verdict differs, ask why. No comparison with NaN is true, so a rule that does not test for NaN lets it pass. And
# a wrong reference shows in the first row's *rewards*, since these rows keep their old losses. [Chapter 13](13_break_my_run)
# has logs of runs that were really trained with a fault.
#
# ### All labels swapped
#
# One such run: a short one on a few hundred pairs, all with chosen and rejected *swapped*, the held-out ones too, as when two
# columns are mixed up. (Left out at larger scales.)

# %% tags=["remove-input"]
lessons.predict(
    "What does the traffic light say of its log?",
    ["green", "amber", "red"],
    key="swapped",
)

# %% tags=["hide-output"]
def swapped(pair):
    return pair | {"chosen": pair["rejected"], "rejected": pair["chosen"]}


swapped_log = None
if pipeline.scale == "miniature":
    train_pairs, _, _ = pipeline.split_pairs()
    with tempfile.TemporaryDirectory() as folder:
        recipe = pipeline.recipe("ddpo") | {"eval_steps": 0.25, "save_strategy": "no"}
        run = training.ddpo(
            pipeline.model_directory("dsft"),
            [swapped(pair) for pair in train_pairs[:320]], Path(folder), recipe,
            [swapped(pair) for pair in held_out[:64]],
        )
    swapped_log = diagnostics.read_training_log(run.log)
    swapped_light = diagnostics.traffic_light(swapped_log, beta=beta)
    print(swapped_light)
    agree = swapped_log.evaluation["rewards/accuracies"][-1]

# %% tags=["remove-input"]
lessons.explain(
    f"{swapped_light.colour.capitalize()}: the run learned what it was told. Its "
    f"accuracy is {agree:.2f}, so about {1 - agree:.2f} against the original labels. "
    "Labels that are wrong throughout look like right ones. Read pairs before training "
    "(Chapter 04), and have answers judged by somebody who did not make the labels "
    "(Chapter 07)."
    if swapped_log is not None
    else "Trained at the miniature's scale alone.",
    key="swapped",
    answer=["green", "amber", "red"].index(swapped_light.colour)
    if swapped_log is not None
    else None,
)

# %% [markdown]
# ## Published runs
#
# The last evaluation of published runs beside ours; a range stands for several runs. "Handbook" is Hugging Face's
# alignment-handbook; its v2 recipe used a β of 0.01, so its margins cannot be compared with the others.

# %% tags=["hide-input"]
def text(value):
    if value is None:
        return ""
    if isinstance(value, list):
        return f"{value[0]:g} to {value[1]:g}"
    return f"{value:.4g}".replace("-", "−")


fields = ("eval_loss", "rewards_chosen", "rewards_rejected", "accuracy", "margin")
table = [row for row in published_table("training_runs").rows if row["stage"] == "dDPO"]
table.append(
    {
        "run": f"ours, {pipeline.scale}",
        "eval_loss": pair_losses(margins).mean(),
        "rewards_chosen": chosen.mean(),
        "rewards_rejected": rejected.mean(),
        "accuracy": learned.mean(),
        "margin": margins.mean(),
    }
)
rows = [
    {"run": row["run"]}
    | {name.replace("_", " "): text(row.get(name)) for name in fields}
    for row in table
]
caption = "Published dDPO runs at their end, and ours over all held-out pairs."
display(HTML(before_after_table(rows, caption=caption)))

# %% [markdown]
# ## What you should see

# %%
assert diagnostics.margins_check(log).ok, (
    "margins are not chosen minus rejected: columns of two runs were mixed"
)
if own_light.colour == "red":
    print("Look at your run before you go on:", own_light.reasons[0].text)
if not pipeline.own_data and pipeline.scale == "miniature":
    assert own_light.colour != "red", (
        f"the miniature's run is not red: {own_light.reasons[0].text}"
    )
    assert measured.accuracy.low > 0.5, (
        "no better than guessing: look at the pairs of chapter 04, "
        "then at the learning rate"
    )
    assert measured.mean_margin.low > 0, (
        "the mean margin is not above 0: are chosen and rejected swapped?"
    )
    assert learned[kinds == "right"].mean() > learned[kinds == "wrong"].mean(), (
        "the labels' truth should show: make the world again"
    )

# %% [markdown]
# ```{admonition} Common mistakes
# :class: warning
# - **Taking training rows for a test set.** Their accuracy goes to 1 by memorisation.
# - **Averaging over long and short answers.** Log-probabilities are sums, so long answers dominate.
# - **Taking the lowest evaluation loss for the best model.** Zephyr was trained for 5,400 more steps.
# ```

# %% [markdown]
# ## Your turn: your own log, your own pairs
#
# Give the log of a run of yours: a checkpoint's `trainer_state.json`, a model card, a TensorBoard event file, an export of
# Weights & Biases, rows as CSV or JSON Lines. Nothing leaves your machine. Runs with other losses (IPO, KTO, ORPO, SimPO)
# are judged by what holds for them; other methods, such as GRPO, are refused.

# %%
my_log = ""  # a path: "checkpoint-500/trainer_state.json"
if my_log:
    print(diagnostics.traffic_light(diagnostics.read_training_log(my_log)))

# %% [markdown]
# In a terminal: `zephyr check-log trainer_state.json --beta 0.1`. For preference pairs of your own, set `preferences` above,
# or `zephyr run --preferences FILE.jsonl --chapters 06`. Read the pairs with the lowest margins first: wrong labels gather
# there.

# %% [markdown]
# ## Recap
#
# 1. *Margins*: [four log-probabilities per pair](ex-06-rewards) make two rewards, a margin and the accuracy; its interval is
#    Wilson's.
# 2. *Curves*: falling rewards and a rising evaluation loss are normal; [four things are not](ex-06-diagnosis).
# 3. *β* is [the slope](ex-06-implied-beta) of rewards over log-probabilities.
# 4. *How many examples*: accuracies in [multiples of 1/64](ex-06-measured-on) are good to ten points; the standard error
#    says [how many pairs](ex-06-pairs-needed) you need.
# 5. *Displacement*: only the distance is learned, so [a chosen answer may fall](ex-06-displaced-share).
#
# Next: [Chapter 07](07_evaluation) judges the answers themselves.

# %% [markdown]
# ## References
#
# The paper {cite:p}`tunstall2023zephyr` and the log on its model card; DPO {cite:p}`rafailov2023dpo`, equations 5 to 7;
# displacement {cite:p}`razin2024unintentional`; temperature scaling {cite:p}`guo2017calibration`; the metrics of one process,
# [TRL issue 2468](https://github.com/huggingface/trl/issues/2468).

# %% tags=["remove-cell"]
write_metrics(
    pipeline.folder / MARGINS,
    {
        "accuracy": measured.accuracy.estimate,
        "accuracy_low": measured.accuracy.low,
        "accuracy_high": measured.accuracy.high,
        "mean_margin": measured.mean_margin.estimate,
        "mean_margin_low": measured.mean_margin.low,
        "mean_margin_high": measured.mean_margin.high,
        "pairs": len(margins),
        "implied_beta": own_beta.beta,
        "zephyr_implied_beta": found.beta,
        "calibrated_beta": calibrated,
        "chosen_change_nats": change_chosen.mean(),
        "rejected_change_nats": change_rejected.mean(),
        "light": own_light.colour,
    },
)
