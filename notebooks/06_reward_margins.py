# %% [markdown]
# # Reward margins: what a preference run's log says
#
# The training of [Chapter 05](05_ddpo) left a model and a log. Logs of preference optimisation frighten those who read
# one for the first time: the rewards are negative, the evaluation loss rises, the answers one wanted become *less* likely.
# All three are true of the published log of Zephyr-7B-beta, the model of the paper {cite:p}`tunstall2023zephyr`. This
# chapter lays that log beside the one of your own run, says of every curve what it measures and which shape is normal,
# goes through the pairs one by one, and ends with a traffic light for the question that every newcomer asks: *is my DPO
# broken?*

# %% [markdown]
# ## What you will be able to do
#
# - compute implicit rewards, margins and accuracy from four sums of log-probabilities, and put an interval on them
# - read every curve of a DPO log, and tell what is normal from what is broken
# - recover β and the reference model's log-probabilities from a log that prints neither
# - say on how many examples an accuracy was measured, and what such an accuracy is worth
# - explain how a pair can be learnt while its chosen answer becomes less likely, and measure it down to the token

# %%
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% [markdown]
# The dials: the same as in every chapter. With a path in `preferences`, the pairs below are yours.

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
from zephyr_utils.pipeline.pipeline import MARGINS, Pipeline

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)

# %% [markdown]
# Beside the pipeline this chapter needs the diagnostics, which read logs, and the published figures.

# %%
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML, display

from zephyr_utils import diagnostics, exercises, figures, training
from zephyr_utils.evaluation.intervals import bootstrap_interval, wilson_interval
from zephyr_utils.figures import before_after_table
from zephyr_utils.published import ZEPHYR_DPO_LOG, published_table
from zephyr_utils.data.records import load_records

# %% [markdown]
# ## Four numbers a pair
#
# Everything a DPO log shows is made of four numbers for each pair: the log-probability of the chosen answer $y_w$ and of the
# rejected answer $y_l$, each under the model in training π and under the frozen reference, the dSFT model. The
# pipeline has measured them on the pairs that were held out of training.

# %%
made = pipeline.margins()
sums = dict(np.load(made.folder / "log_probs.npz"))
held_out = load_records(made.folder / "held_out.parquet", "preference").records
beta = pipeline.recipe("ddpo")["beta"]
for name, values in sums.items():
    print(f"{name:19s} {len(values)} pairs, mean {values.mean():8.2f} nats")

# %% [markdown]
# Look at one pair before anything is averaged. The sums run over the tokens of the answer alone, the one that ends it
# included; the prompt is given and counts for nothing.

# %%
def question(pair):
    return pair["chosen"][-2]["content"]


def show_pair(i):
    print("asked:   ", question(held_out[i])[:300])
    for side in ("chosen", "rejected"):
        before, after = sums[f"reference_{side}"][i], sums[f"policy_{side}"][i]
        print(
            f"{side + ':':9s} {held_out[i][side][-1]['content'][:300]!r}\n          "
            f"{before:.2f} -> {after:.2f} nats"
        )


show_pair(0)

# %% [markdown]
# ### Step 1: from log-probabilities to a margin
#
# DPO shows that a policy trained against a reference *acts as if* it had the reward {cite:p}`rafailov2023dpo`
#
# $$r(x, y) = \beta \left( \log \pi(y \mid x) - \log \pi_{\mathrm{ref}}(y \mid x) \right),$$
#
# up to a term that depends on the prompt alone. (The paper prints this reward without the logarithm in one place; its
# equation 1 has it.) The **reward margin** of a pair is the difference of two such rewards, in which that term cancels:
#
# $$m = r(x, y_w) - r(x, y_l).$$
#
# A pair counts as *learned*, and adds to the **accuracy**, when $m > 0$. Here it is, written out once:

# %%
def margins_by_hand(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    chosen = beta * (policy_chosen - reference_chosen)
    rejected = beta * (policy_rejected - reference_rejected)
    return chosen, rejected, chosen - rejected


chosen, rejected, margins = margins_by_hand(**sums, beta=beta)
print(f"pair 0: {chosen[0]:.3f} - ({rejected[0]:.3f}) = {margins[0]:.3f}")
print(f"all: mean margin {margins.mean():.3f}, accuracy {np.mean(margins > 0):.3f}")

# %% [markdown]
# The package's version does the same and refuses what cannot be right: lists of unequal length, NaN, a β of 0. It adds what
# a log never has, an interval: it resamples the pairs two thousand times, with replacement, and reports the range that
# holds the middle 95 % of the results (the bootstrap).

# %%
measured = diagnostics.reward_margins(**sums, beta=beta)
assert np.allclose(measured.margins, margins), (
    "the two versions differ: compare the signs in margins_by_hand"
)
print("accuracy   ", measured.accuracy)
print("mean margin", measured.mean_margin)
print("ties       ", measured.n_ties)

# %% [markdown]
# [Chapter 05](05_ddpo) read other figures off the log of the same run. The trainer measures the first held-out pairs on
# the way, as many as a tenth of its time allows; here are all of them. The interval says how far apart two such samples may lie.

# %% [markdown]
# ### Step 2: where every run starts
#
# Before the first step the policy *is* the reference: both log-ratios of a pair are 0.

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The run measured held-out pairs before its first step as well. Which accuracy did it log there: 0, one half, or what the
# dSFT model would get by ranking the answers by their likelihood? And which loss?
# ```

# %%
log = diagnostics.read_training_log(pipeline.ddpo().folder / training.LOG)
for name in ("step", "rewards/chosen", "rewards/margins", "rewards/accuracies", "loss"):
    print(f"{name:19s} {log.evaluation[name][0]:.4f}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The accuracy is **0**, not one half. Every margin is exactly 0, and the trainer counts the margins *above* 0. If you said
# one half, you thought of a coin; an undecided model would be a coin if ties were split. If you thought of ranking by
# likelihood: that is what the reference *is*, and the implicit reward measures only what has changed since. The loss is
# $-\log \sigma(0) = \ln 2 = 0.6931$ for every pair. A first loss far from ln 2 says for certain that policy and reference are
# not one model. The converse does not hold: a loss of ln 2 does not say *which* model both are ([Chapter 05](05_ddpo)).
# ```

# %% [markdown]
# ### Step 3: the loss is a function of the margins alone
#
# Equation 1 of the paper is the mean of $-\log \sigma(m)$ over the pairs. So our four lists of numbers have to give the
# evaluation loss that the trainer logged at its last step, on the same pairs. This also holds two programs against each
# other: the trainer's forward passes with an adapter beside the weights, and ours with the merged model.

# %%
def pair_losses(margins):
    return np.logaddexp(0, -margins)  # -log sigmoid(m), without overflow


evaluated = pipeline.ddpo().results["evaluated_pairs"]
watched = slice(evaluated)  # the pairs that the trainer measured on the way
ours, logged = pair_losses(margins[watched]).mean(), log.evaluation["loss"][-1]
print(f"from the margins {ours:.4f}, logged {logged:.4f}")
assert abs(ours - logged) < 0.02, (
    "not the same run: delete 05_ddpo and 06_reward_margins, and run again"
)

# %% [markdown]
# ### Step 4: a mean margin hides its spread
#
# The loss bends upwards: it is convex in $m$. By Jensen's inequality the mean loss is therefore *at least* the loss of the
# mean margin, and the gap grows with the spread of the margins.

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
# Keep the inequality in mind for the next question; it is about the log of Zephyr-7B-beta, 58 evaluations in three epochs,
# as its model card prints them.

# %%
zephyr = diagnostics.read_training_log(ZEPHYR_DPO_LOG)
mean_margin = zephyr.evaluation["rewards/margins"][-1]
print(
    f"Zephyr's last mean margin: {mean_margin:.4f}; "
    f"a pair with just that margin has the loss {pair_losses(mean_margin):.4f}"
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Which evaluation loss stands in the same row: about 0.02, about 0.2, or about 0.75?
# ```

# %%
print(
    {
        name: float(zephyr.evaluation[name][-1])
        for name in ("loss", "rewards/margins", "rewards/accuracies")
    }
)
wrong = margins <= 0
print(
    f"ours: {wrong.mean():.0%} of the pairs are not learned and make "
    f"{pair_losses(margins)[wrong].sum() / pair_losses(margins).sum():.0%} of the loss"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# It is **0.7520**: worse than the 0.6931 of a model that has learnt nothing, with a mean margin of 3.8 and an accuracy of
# 0.78. Who answered 0.02 took the mean margin for every pair's; who answered 0.2 allowed for some spread, but not enough.
# A learned pair with a large margin costs next to nothing, while a pair ranked the wrong way round costs about as much as
# its margin is deep. A fifth of the pairs wrong by 3.4 on average gives $0.22 \cdot 3.4 \approx 0.75$: those few pairs can
# make up the whole loss. The model is not wrong more often than before, it is *surer* where it is wrong. The last line
# shows how far our own run has come on that way. After one gentle epoch its margins are small, so a learned pair still costs
# something, and the others about half as much again: they make up more than their share of the loss, and far from all of it.
# ```

# %% [markdown]
# ## Two logs side by side
#
# A trainer writes two kinds of rows. **Training** rows average over the batches since the last row, other pairs every time.
# **Evaluation** rows are measured on one fixed set. Zephyr's card prints the training loss and, for the rest, evaluation
# rows; our run has both kinds of everything.

# %%
def curves(log, *names):
    found = {}
    for prefix, columns in (("", log.training), ("eval_", log.evaluation)):
        for name in (name for name in names if name in columns):
            there = np.isfinite(columns[name])
            found[prefix + name] = dict(
                zip(columns["step"][there], columns[name][there], strict=True)
            )
    return found


reward_names = [
    f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")
]
for name, one in (("Zephyr", zephyr), ("ours", log)):
    print(
        name + ":",
        ", ".join(
            f"{len(series)} x {key}"
            for key, series in curves(one, "rewards/margins", "loss").items()
        ),
    )

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Zephyr trained for 5,800 steps, three epochs. Its rewards become negative and its evaluation loss rises: you know that from
# the first lines of this chapter. But when, and what else? Sketch before you look: in which of the three epochs is the
# evaluation loss lowest? Does the accuracy fall while that loss rises? Does the training loss fall smoothly, or in steps?
# ```

# %%
def words(log):
    e = log.evaluation
    return (
        f"From step {e['step'][0]:.0f} to {e['step'][-1]:.0f} the chosen reward goes "
        f"from {e['rewards/chosen'][0]:.2f} to {e['rewards/chosen'][-1]:.2f}, "
        "the rejected "
        f"from {e['rewards/rejected'][0]:.2f} to {e['rewards/rejected'][-1]:.2f}, "
        "the margin "
        f"from {e['rewards/margins'][0]:.2f} to {e['rewards/margins'][-1]:.2f}; "
        f"the accuracy ends at {e['rewards/accuracies'][-1]:.2f}."
    )


fig = figures.reward_curves(curves(zephyr, *reward_names))
figures.show(
    fig,
    alt=words(zephyr),
    caption=(
        "Zephyr-7B-beta: rewards, margin and accuracy, from the log on its model card."
    ),
)

# %%
fig = figures.reward_curves(curves(log, *reward_names))
figures.show(
    fig,
    alt=words(log),
    caption=(
        f"Our run at the scale {pipeline.scale}: the same curves, "
        "training rows and held-out rows."
    ),
)

# %% [markdown]
# Now the losses. The published log first, ours below it.

# %%
def loss_figure(log):
    found = curves(log, "loss")
    return figures.loss_curve(
        {"training": found["loss"], "held out": found["eval_loss"]},
        label="loss of a pair (nats)",
    )


best = diagnostics.overfitting(zephyr)
alt = (
    "Zephyr's training loss falls in steps to 0.01; "
    f"its held-out loss is lowest, {best.best_loss:.2f}, "
    f"at step {best.best_step:.0f} and rises to {best.last_loss:.2f}."
)
figures.show(
    loss_figure(zephyr), alt=alt,
    caption="Zephyr-7B-beta: training loss and evaluation loss over three epochs.",
)

# %%
own = diagnostics.overfitting(log)
alt = (
    f"Our held-out loss starts at 0.69, is lowest, {own.best_loss:.2f}, "
    f"at step {own.best_step:.0f} and ends at {own.last_loss:.2f}."
)
figures.show(
    loss_figure(log), alt=alt,
    caption=f"Our run at the scale {pipeline.scale}: training loss and held-out loss.",
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# **The evaluation loss is lowest at step 400 of 5,800**, a fifth of the way through the *first* epoch. Who put the minimum
# near the end expects an evaluation loss to behave as in pre-training.
#
# **The accuracy does not fall**: it stays near 0.8 to the end, while the margin keeps growing. The order of the answers is
# kept; what grows is the certainty, on wrong pairs as well. The authors trained on, because the judged quality of the
# answers kept rising (their figure 3).
#
# **The training loss falls in steps**, like stairs, at each end of an epoch: from there on every pair has been seen before.
# A smooth curve would be that of a run of one epoch, such as the miniature's.
#
# And the chosen reward ends at −4.5: the loss asks only for a distance between two answers, and both may sink as long as
# the rejected one sinks faster.
# ```

# %% [markdown]
# ### Every curve, what is normal, what is broken
#
# | curve | what it measures | normal | look again |
# |---|---|---|---|
# | `loss`, training | mean of −log σ(m) over the last batches | starts at ln 2 = 0.693; stairs at the epochs | far from ln 2 at step 1; exactly 0; NaN |
# | `eval_loss` | the same on fixed held-out pairs | falls, then often rises | rises *while the accuracy falls* |
# | `rewards/chosen` | β × change of the chosen answers' log-probability | near 0 or negative | exactly 0 to the end: nothing moved |
# | `rewards/rejected` | the same for the rejected answers | negative, below the chosen | above the chosen: labels swapped? |
# | `rewards/margins` | the first minus the second | grows, and grows in spread | shrinks; not the difference of the two |
# | `rewards/accuracies` | share of pairs with margin above 0 | 0.7 to 0.85 on UltraFeedback | one half: not learning; 1.0: a leak? |
# | `logps/chosen`, `logps/rejected` | the log-probabilities themselves, *sums* in nats | drift down with the rewards | lose more than half of their size |
# | `grad_norm` | length of the gradient before clipping | falls as pairs settle | spikes, NaN |
#
# The first of these checks is arithmetic: in every row, margins are chosen minus rejected.

# %%
for name, one in (("Zephyr", zephyr), ("ours", log)):
    check = diagnostics.margins_check(one)
    print(
        f"{name}: {check.n_rows} rows, largest gap {check.largest_gap:.1e}, "
        f"{'all add up' if check.ok else check.steps_off}"
    )

# %% [markdown]
# ## What a log gives away: β and the reference
#
# ### Step 5: on a fixed set, rewards lie on a straight line
#
# Average the definition of the reward over the evaluation set, at each evaluation $t$:
#
# $$\bar r_t = \beta \, \overline{\log \pi_t} - \beta \, \overline{\log \pi_{\mathrm{ref}}}.$$
#
# The second term never changes, for neither the reference nor the pairs do. So the logged rewards, drawn over the logged
# log-probabilities, lie on a straight line. Its slope is β, and the point where it crosses zero is the reference's mean
# log-probability. The card of Zephyr-7B-beta names no β in its table of hyperparameters; its log does.

# %%
def slope_and_zero(rewards_logged, logps):
    x, y = logps - logps.mean(), rewards_logged - rewards_logged.mean()
    slope = (x @ y) / (x @ x)
    return slope, logps.mean() - rewards_logged.mean() / slope


for side in ("chosen", "rejected"):
    slope, zero = slope_and_zero(
        zephyr.evaluation[f"rewards/{side}"], zephyr.evaluation[f"logps/{side}"]
    )
    print(f"{side:8s} slope {slope:.5f}, reference {zero:.2f} nats")

# %% [markdown]
# Both lines have the slope 0.10000, the paper's β, although the card prints four decimals only. The package fits both lines
# at once, with one slope, and says how sure it is: the ± is one standard error, and no residual is larger than the rounding.

# %%
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
# For our own run the hidden number can be uncovered. The regression says what the reference's mean log-probability must
# have been; the dSFT model, loaded and measured, says what it was.

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

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The training rows have rewards and log-probabilities too, and there are more of them. Will the same regression on
# *training* rows return β as well?
# ```

# %%
train = log.training
slope, zero = slope_and_zero(train["rewards/rejected"], train["logps/rejected"])
residual = train["rewards/rejected"] - slope * (train["logps/rejected"] - zero)
print(
    f"training rows: slope {slope:.4f}, largest residual {np.abs(residual).max():.3f}"
)
print(
    f"evaluation rows: slope {own_beta.beta:.4f}, "
    f"largest residual {own_beta.largest_residual:.1e}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The points no longer lie on a line; compare the residuals. Each training row averages over *other pairs*, with another
# mean of the reference, and a batch of long answers has low log-probabilities without any reward being at fault. More rows
# do not help against that. If you trusted the larger number of points: they answer another question. A fixed evaluation
# set is what makes a log worth reading, and the reason why our training measures one.
# ```

# %% [markdown]
# ````{exercise} β from a log
# :label: ex-06-implied-beta
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Given the rewards and the log-probabilities of a run's evaluations, as arrays, return the β it was trained with. The
# reference is unknown.
# ````

# %% tags=["exercise"]
def my_beta(rewards, logps):
    ...


exercises.check_implied_beta(my_beta)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Dividing a reward by its log-probability leaves out the reference. What happens to the unknown reference in the
# *difference* of two rows?
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# The slope of the line through the points: `np.polyfit(x, y, 1)` returns slope and intercept. Which is x?
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
# ## Stairs, and a loss that rises
#
# The stairs of the training loss can be read off as numbers: the rows on both sides of each epoch border, and the means of
# the epochs that meet there.

# %%
for name, one in (("Zephyr", zephyr), ("ours", log)):
    for step in diagnostics.epoch_steps(one):
        print(
            f"{name}, end of epoch {step.epoch}: "
            f"{step.loss_before:.4f} -> {step.loss_after:.4f}; "
            f"epoch means {step.mean_before:.3f} -> {step.mean_after:.3f}"
        )
    print(
        f"{name}, held out: best {diagnostics.overfitting(one).best_loss:.3f} at step "
        f"{diagnostics.overfitting(one).best_step:.0f}, "
        f"last {diagnostics.overfitting(one).last_loss:.3f}"
    )

# %% [markdown]
# Zephyr's fall from 0.50 to 0.09 in 100 steps is memorising, and the paper says so: after one epoch the training accuracy
# is nearly perfect (its figure 3). A run of one epoch, as the miniature's recipe asks for, has no such border and hence no
# line above: no pair comes twice. With more epochs its stairs would be lower than Zephyr's, for a low-rank adapter on a
# model of a million parameters has less room to memorise. Overfitting of this kind is *not* a fault of the run by itself.
# What tells is the accuracy on held-out pairs, and in the end the judged answers of [Chapter 07](07_evaluation).

# %% [markdown]
# ## Sixty-four examples
#
# Look closely at the accuracies that Zephyr's card prints.

# %%
accuracies = zephyr.evaluation["rewards/accuracies"]
print(accuracies[:8])
print("times 64:", (accuracies[:8] * 64).round(2))
print(
    "smallest n that fits all 58:", diagnostics.accuracy_examples(zephyr),
    "| ours:", diagnostics.accuracy_examples(log),
)

# %% [markdown]
# Every one is a multiple of 1/64, although the run kept 1,000 evaluation rows. It ran on 16 GPUs, each evaluated its own
# share, and the trainer of that time logged the metrics of the *first process alone*: about 64 rows. (Today's TRL gathers
# them, and so the second number is that of the pairs our trainer watched.) So the famous curve rests on 64 pairs. What is
# that worth?

# %%
last = wilson_interval(round(accuracies[-1] * 64), 64)
print(f"Zephyr's last accuracy, 64 pairs:    {last}")
print(f"ours, {len(margins)} pairs, bootstrap:       {measured.accuracy}")
print(
    f"ours, {len(margins)} pairs, Wilson:          "
    f"{wilson_interval(int((margins > 0).sum()), len(margins))}"
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Suppose 64 of our held-out pairs had been drawn at random, and only their accuracy were known. How often would it miss the
# accuracy of all held-out pairs by more than 4 points: about one time in a hundred, one in ten, or one in three?
# ```

# %%
rng = np.random.default_rng(0)
learned = margins > 0
size = min(64, len(learned) // 2)
draws = np.array([rng.permutation(learned)[:size].mean() for _ in range(4000)])
off = np.abs(draws - learned.mean())
print(
    f"{size} of {len(learned)} pairs: standard deviation {100 * draws.std():.1f} "
    f"points; off by more than 4 points in {np.mean(off > 0.04):.0%} of the draws"
)

# %% [markdown]
# The same by formula. A share $p$ of $n$ independent pairs has the standard error $\sqrt{p(1-p)/n}$; because our draws are
# *without* replacement from a finite set of $N$, it shrinks by $\sqrt{(N-n)/(N-1)}$.

# %%
p, n_all = learned.mean(), len(learned)
error = np.sqrt(p * (1 - p) / size)
finite = error * np.sqrt((n_all - size) / (n_all - 1))
print(
    f"standard error {100 * error:.1f} points; "
    f"drawn from {n_all}: {100 * finite:.1f} (simulated {100 * draws.std():.1f})"
)
assert abs(finite - draws.std()) < 0.005, (
    "simulation and formula differ: did you draw with replacement?"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# More than one time in **three**: an error of several points is an everyday matter with 64 pairs. For an accuracy of 0.78
# the standard error is 5.2 points. Being that far off only once in a hundred draws would take some 700 pairs. Two remarks,
# so that you do not overdo it. The 58 evaluations of *one* run all used the *same* 64 pairs, so the rise and fall along its
# curve is steadier than 5 points: one pair that changes sides moves it by 1.6. But comparing *two runs* that were measured
# on different pairs, such as 0.78 on one card and 0.81 on another, says nothing at all.
# ```

# %% [markdown]
# ````{exercise} How many pairs does an accuracy need?
# :label: ex-06-pairs-needed
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# You want the 95 % interval of an accuracy to reach at most `half_width` to each side. Return how many pairs that takes, a
# whole number rounded up, by the formula of the standard error above (without the finite-set factor).
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
# An accuracy of 0.78 to within one point takes 6,593 pairs. The published test split has 2,000.
# `````

# %% [markdown]
# ````{exercise} On how many examples was it measured?
# :label: ex-06-measured-on
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# A log prints accuracies with four decimals. Return the smallest n, up to 1,000, that all of them are multiples of 1/n of.
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
# 0.7188 is 46/64 = 0.71875, rounded. How far may a printed figure be from the true one?
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

# %% [markdown]
# ## Pair by pair
#
# A mean margin is one number for hundreds of pairs. Here they all are, before training and after.

# %%
fig = figures.margin_histogram(np.zeros_like(margins), margins)
most = np.histogram(margins, bins=40)[0].max()
fig.axes[0].set_ylim(0, 1.6 * most)  # the bar of the zeros would dwarf all others
low, high = np.quantile(margins, [0.05, 0.95])
alt = (
    f"Before dDPO all margins are 0. After it {np.mean(margins > 0):.0%} lie above 0, "
    f"nine in ten of them between {low:.1f} and {high:.1f}."
)
figures.show(
    fig,
    alt=alt,
    caption=(
        "Reward margins of the held-out pairs, before and after dDPO. "
        "The bar at 0, all pairs before training, is cut off at the top."
    ),
)

# %% [markdown]
# Which pairs were not learned, and why? In the miniature we can ask somebody whom nobody can ask about UltraFeedback: the
# *truth*. The labels came from a teacher who rates with noise ([Chapter 03](03_ai_feedback)). The same rules without noise
# say which answer is really the better one, so each label is right, wrong, or a toss-up between two equally good answers.

# %%
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.miniature.world import understand


def label_kind(pair):
    chosen, rejected = (
        grade_turn([question(pair)], [pair[side][-1]["content"]], 1)
        for side in ("chosen", "rejected")
    )
    if chosen is None:
        # not of the miniature's world: your own data, or another scale
        return "unknown"
    return (
        "right"
        if chosen.score > rejected.score
        else "wrong"
        if chosen.score < rejected.score
        else "toss-up"
    )


kinds = np.array([label_kind(pair) for pair in held_out])
print(Counter(kinds.tolist()))

# %% [markdown]
# One more tool: shares of small groups. The bootstrap is at a loss where all of a group went one way, since resampling from
# sixteen zeros gives zeros for ever: an interval of [0, 0]. Wilson's interval for a share does not fall into that trap.

# %%
def by(groups):
    for name, here in groups.items():
        if here.any():
            share = wilson_interval(int(learned[here].sum()), int(here.sum()))
            print(
                f"{name:28s} {here.sum():4d} pairs, learned {share}, "
                f"mean margin {margins[here].mean():+.2f}"
            )


print(
    "0 of 16: bootstrap", bootstrap_interval(np.zeros(16)), "| Wilson",
    wilson_interval(0, 16),
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The model never saw the truth, only noisy labels, and these pairs it did not see at all. On the pairs whose *label is
# wrong*, will its margin mostly side with the label, or with the truth?
# ```

# %%
by(
    {
        f"label {kind}": kinds == kind
        for kind in ("right", "toss-up", "wrong", "unknown")
    }
)
print("not learned:", dict(Counter(kinds[~learned].tolist())))

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# With the truth, nearly always. Noise points now this way and now that, so over thousands of pairs it cancels, while the
# preference behind it does not: the model ends up *less noisy than its teacher's labels*. So a pair that was "not learned"
# is at times one that should not have been. If you expected it to side with the labels: it would on pairs it was *trained*
# on for long enough, for those can be memorised. It follows that an accuracy against noisy labels has a ceiling below 1,
# and that 0.78 on UltraFeedback may be nearer to its ceiling than it looks. But do not conclude that the model knows the
# truth: noise turns a label round where two answers are close, and those mostly differ in manner alone. The next question
# looks at that. With your own data there is no truth to ask, and all labels are "unknown".
# ```

# %% [markdown]
# ### Substance or manner?
#
# A chosen answer can be better in two ways here. It can be *right* where the other is wrong, or it can be *friendlier*, with
# an opening and an offer at the end. The teacher rewards both, being right the more. Sometimes the two pull against each
# other: a curt right answer against a friendly false one.

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Order these by how many of the pairs the model learned: chosen right *and* friendlier; both right, chosen friendlier; chosen
# right, both as friendly; chosen right but *less* friendly.
# ```

# %%
def difference(pair):
    chosen, rejected = (
        grade_turn([question(pair)], [pair[side][-1]["content"]], 1)
        for side in ("chosen", "rejected")
    )
    if chosen is None:
        return "unknown"
    substance = {
        1: "chosen right", 0: "both right" if chosen.right else "both wrong",
        -1: "chosen wrong",
    }[chosen.right - rejected.right]
    manner = {1: "friendlier", 0: "as friendly", -1: "less friendly"}[
        int(np.sign(chosen.friendly - rejected.friendly))
    ]
    return f"{substance}, {manner}"


differences = np.array([difference(pair) for pair in held_out])
by(
    {
        name: differences == name
        for name, _ in Counter(differences.tolist()).most_common(8)
    }
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Where both point the same way, hardly a pair is missed; where they fight, the model is near to guessing. Manner alone is
# learned at least as well as substance alone, although the teacher gives being right the greater weight: a friendlier answer
# can be told by its first two words, whatever was asked, while being right can only be told by *knowing* the answer, which
# a small model often does not. Who put substance first went by what the teacher means; the model goes by what is easy to
# tell. It is the miniature of a worry about all preference training: what raters reward most *visibly* (length, tone,
# form) is learned before what they meant.
# ```

# %% [markdown]
# The same suspicion can be raised without any truth, on your own data too: are pairs learned better where the chosen answer
# is the *longer* one? And where the teacher rated the two far apart? (In the miniature a large gap mostly means right
# against wrong. Scores are optional in pairs of your own: where one has none, only the length is looked at.)

# %%
lengths = {
    side: np.array([len(pair[side][-1]["content"]) for pair in held_out])
    for side in ("chosen", "rejected")
}
longer = lengths["chosen"] > lengths["rejected"]
groups = {"chosen longer": longer, "not longer": ~longer}
if all("score_chosen" in pair for pair in held_out):
    gaps = np.array([p["score_chosen"] - p["score_rejected"] for p in held_out])
    groups["small score gap"] = gaps <= np.median(gaps)
    groups["large score gap"] = gaps > np.median(gaps)
else:
    print("Not all pairs have scores: they are not divided by their gap.")
by(groups)

# %% [markdown]
# In the miniature the length tells, and the gap does not: its two intervals overlap, although its pairs with a large gap
# have the larger mean margin, which a few deep ones lift. What makes a pair easy to learn here is not how sure
# the judge was.

# %% [markdown]
# And by category, named as in MT-Bench (on data of your own all are "other"):

# %%
asked = [understand([question(pair)]) for pair in held_out]
categories = [found.category if found else "other" for found in asked]
by({name: np.array(categories) == name for name in sorted(set(categories))})

# %% [markdown]
# ### Browse them
#
# Filter for the pairs that were not learned, sort them, and read some: which answer would *you* have chosen? The line below
# the question says what the label was worth, where that is known. The page holds at most 200 pairs, evenly spaced by margin.

# %%
from zephyr_utils.explorers.reward_margins import Margins

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
# In words, for those who read this without the figure: the pair with the lowest margin of all, and the one with the highest.

# %%
for i in (int(margins.argmin()), int(margins.argmax())):
    print(f"--- margin {margins[i]:+.2f}, label {kinds[i]}")
    show_pair(i)

# %% [markdown]
# ## Displacement: the chosen answer may fall
#
# ### Step 6: what the loss cannot see
#
# Add the same number to both rewards of a pair: the margin stays, and so does the loss. Whether the chosen answer becomes
# more or less likely is nothing the loss asks for.

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
# Take a single token with logits $z_y = w_y \cdot h$: a hidden state $h$ and an output vector $w_y$ for each answer. The
# gradient of $\log \pi(y_w) - \log \pi(y_l)$ with respect to $h$ is $w_w - w_l$. A small step $\eta (w_w - w_l)$ always
# widens the margin, by $\eta \lVert w_w - w_l \rVert^2$. The chosen answer itself changes by
#
# $$\Delta \log \pi(y_w) \approx \eta \, (w_w - w_l) \cdot \Big( w_w - \sum_y \pi(y)\, w_y \Big),$$
#
# and nothing keeps this product positive. If the two answers are alike, $w_w - w_l$ is short and may point towards a
# *third* answer, which then takes the probability of both {cite:p}`razin2024unintentional`. Three answers with two numbers
# each are enough to see it.

# %%
# output vectors: chosen, rejected, a third answer
answers = np.array([[1.0, 0.0], [0.9, -0.3], [1.0, 2.0]])
hidden = np.array([0.0, 0.6])


def log_probs(hidden):
    logits = answers @ hidden
    return logits - np.log(np.exp(logits).sum())


step = 0.001 * (answers[0] - answers[1])
change = log_probs(hidden + step) - log_probs(hidden)
formula = step @ (answers[0] - np.exp(log_probs(hidden)) @ answers)
print(
    f"chosen {change[0]:+.2e} (formula {formula:+.2e}), rejected {change[1]:+.2e}, "
    f"third {change[2]:+.2e}"
)
assert change[0] < 0 < change[0] - change[1], (
    "the margin has to grow while the chosen answer falls"
)

# %% [markdown]
# How far did it go in the two runs? For the published one the reference's log-probabilities come from the regression of
# step 5.

# %%
for name, one in (("Zephyr", zephyr), ("ours", log)):
    moved = diagnostics.displacement(one)
    share = (
        f" ({moved.chosen_share:+.0%} of its size)"
        if moved.chosen_share is not None
        else ""
    )
    print(
        f"{name}: chosen {moved.chosen:+.1f} nats{share}, "
        f"rejected {moved.rejected:+.1f}; lowest on the way {moved.lowest_chosen:+.1f}"
    )

# %% [markdown]
# Zephyr's chosen answers lost 45 of 254 nats. $e^{-45}$ sounds like ruin, but it is spread over a few hundred tokens of an
# answer that the model would never have given word for word. Displacement is a possibility and no law: in the miniature,
# where answers have some twenty tokens and the student gives many of the chosen ones by itself, the mean hardly moves, and
# may rise. A mean also hides that the pairs differ, so count them:

# %%
change_chosen = sums["policy_chosen"] - sums["reference_chosen"]
change_rejected = sums["policy_rejected"] - sums["reference_rejected"]
print(
    f"chosen answers that became less likely:   {np.mean(change_chosen < 0):.0%}, "
    f"mean change {bootstrap_interval(change_chosen)} nats"
)
print(
    f"rejected answers that became less likely: {np.mean(change_rejected < 0):.0%}, "
    f"mean change {bootstrap_interval(change_rejected)} nats"
)

# %% [markdown]
# ````{exercise} Learned, and yet less likely
# :label: ex-06-displaced-share
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Among the pairs that were learned (margin above 0), return the share whose chosen answer became less likely. The arguments
# are arrays of the four sums, one entry a pair.
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
# β is above 0, so the sign of the margin is that of the difference of log-ratios: you do not need it.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# Make an array of truth values, `learned`, then take the mean of `(policy_chosen < reference_chosen)[learned]`.
# ```

# %% [markdown]
# `````{solution} ex-06-displaced-share
# :class: dropdown
# ```python
# def displaced_share(policy_chosen, policy_rejected, reference_chosen, reference_rejected):
#     learned = policy_chosen - reference_chosen > policy_rejected - reference_rejected
#     return (policy_chosen < reference_chosen)[learned].mean()
# ```
# Then `displaced_share(**sums)` for our own run. In the explorer above it is the last of the filters.
# `````

# %% [markdown]
# ### Which tokens moved?
#
# A sum over tokens can be taken apart again. One function gives the log-probability of each token of an answer; the check
# below it: the tokens add up to the sums that the pipeline measured.

# %%
from zephyr_utils.chat import encode, generate, load_model


@torch.no_grad()
def token_log_probs(model, tokenizer, messages):
    ids, _ = encode(tokenizer, messages)
    prompt = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    logits = (
        model(torch.tensor([ids], device=model.device)).logits[0, :-1].float().cpu()
    )
    each = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return ids[len(prompt) :], each[len(prompt) - 1 :].numpy()


(before, tokenizer), (after, _) = (
    load_model(pipeline.model_directory(name), dtype="float32")
    for name in ("dsft", "ddpo")
)
ids, each = token_log_probs(after, tokenizer, held_out[0]["chosen"])
print(
    f"{len(ids)} tokens: {each.sum():.3f}, "
    f"measured by the pipeline: {sums['policy_chosen'][0]:.3f}"
)
assert abs(each.sum() - sums["policy_chosen"][0]) < 0.01 * max(1, abs(each.sum())), (
    "a token too many or too few: mind the shift by one"
)

# %% [markdown]
# The chosen answer of that pair, token by token (the first 24, if it has more): what each gained or lost.

# %%
def token_changes(messages):
    ids, new = token_log_probs(after, tokenizer, messages)
    return ids, new - token_log_probs(before, tokenizer, messages)[1]


ids, gained = token_changes(held_out[0]["chosen"])
for token, value in list(zip(ids, gained, strict=True))[:24]:
    print(
        f"{tokenizer.decode([token])!r:16} {value:+6.2f} "
        f"{('+' if value > 0 else '-') * min(40, 1 + int(4 * abs(value)))}"
    )

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Average this over many pairs, by the place of the token in the answer. Where do chosen and rejected answers part: at the
# first tokens, evenly all along, or at the end?
# ```

# %%
some, reach = range(min(96, len(held_out))), 12
profile = {
    side: [token_changes(held_out[i][side])[1] for i in some]
    for side in ("chosen", "rejected")
}
means = {
    side: [np.mean([c[t] for c in changes if len(c) > t]) for t in range(reach)]
    for side, changes in profile.items()
}

fig, [axes] = figures.figure()
for n, (side, values) in enumerate(means.items()):
    axes.plot(
        range(1, reach + 1), values, label=side, color=figures.COLOURS[n],
        linestyle=figures.LINE_STYLES[n], marker=figures.MARKERS[n],
    )
axes.axhline(0, color="#1a1a1a", linewidth=0.8)
axes.set(xlabel="place of the token in the answer", ylabel="mean change (nats)")
axes.legend()
alt = (
    f"The first token changes by {means['chosen'][0]:+.2f} nats in chosen and "
    f"{means['rejected'][0]:+.2f} in rejected answers, "
    f"the twelfth by {means['chosen'][-1]:+.2f} and {means['rejected'][-1]:+.2f}."
)
figures.show(
    fig,
    alt=alt,
    caption=(
        "Change of the tokens' log-probabilities by dDPO, by their place in the answer."
    ),
)

# %% [markdown]
# How much of the whole distance have the first tokens made?

# %%
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
        f"{upto(t) / upto(None):.0%}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Two things stand out in our run. The line of the *chosen* answers stays near zero from end to end: on average dDPO made
# hardly any of their tokens more likely. The margin is won on the *rejected* side, and over many tokens: the lines above say
# how small a part the very first one carries. "At the first tokens" is what one expects of a friendly opening, and it is a
# part of the story; but a refusal, a rambling sentence or a false name is pushed down wherever it stands. It is the picture
# of Zephyr's curves in small, in which the rejected answers sank nearly twice as far as the chosen ones.
# ```

# %% [markdown]
# ### Where did the probability go?
#
# The first token of the answer again, but now all tokens the model could have begun with: the mean of its probabilities
# over the questions, before and after. (The miniature's vocabulary is small, so a token may be one letter: with `G` begin
# *Gladly!* and *Good question!*, with `H` *Happy to help!*, with `S` *Sure thing!*)

# %%
@torch.no_grad()
def first_token_probabilities(model, conversations):
    rows = []
    for messages in conversations:
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        rows.append(
            model(torch.tensor([prompt], device=model.device))
            .logits[0, -1]
            .float()
            .softmax(-1)
            .cpu()
        )
    return torch.stack(rows).mean(0)


asked_of = [held_out[i]["chosen"][:-1] for i in some]
old, new = (first_token_probabilities(model, asked_of) for model in (before, after))
for token in torch.argsort((new - old).abs(), descending=True)[:10].tolist():
    print(f"{tokenizer.decode([token])!r:12} {old[token]:7.1%} -> {new[token]:7.1%}")

# %% [markdown]
# One thing to watch for. In an early trial of this miniature the trained model began its answers with the *second* word of
# the friendly opening ("to help! 7 plus 2 is 9."). Its margin had grown as it should, while the likelihood of the first
# token had gone elsewhere: displacement at its plainest. No curve shows that. So read what the model *says*:

# %%
openings = {}
for name, model in (("dSFT", before), ("dDPO", after)):
    said = generate(
        model, tokenizer, asked_of[:48], max_new_tokens=12, temperature=0.7, seed=seed
    )
    openings[name] = Counter(" ".join(answer.text.split()[:2]) for answer in said)
    print(
        f"{name}: "
        + ", ".join(
            f"{count} x {words!r}" for words, count in openings[name].most_common(5)
        )
    )

# %%
lower = sum(count for words, count in openings["dDPO"].items() if words[:1].islower())
print(
    "answers of the dDPO model that begin in lower case: "
    f"{lower} of {sum(openings['dDPO'].values())}"
)

# %% [markdown]
# ## What β does to a log
#
# ### Step 8: the same model, read with another β
#
# β enters a log in two ways: it steers the training, and it scales what is logged. The second can be seen without training
# anything, since the rewards are β times log-ratios that are there already.

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Read our model as if β were five times as large. What becomes of the accuracy, of the mean margin and of the mean loss?
# Each: higher, lower, or the same?
# ```

# %%
for factor in (1, 5):
    read = diagnostics.reward_margins(**sums, beta=factor * beta)
    print(
        f"beta {factor * beta:g}: accuracy {read.accuracy.estimate:.3f}, "
        f"mean margin {read.mean_margin.estimate:.3f}, "
        f"mean loss {pair_losses(read.margins).mean():.3f}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The accuracy stays, since a positive factor changes no sign. The margin is multiplied by exactly five: a margin without
# its β says nothing, and margins of runs with different β must not be compared. The loss may go either way, and that is the
# interesting part: larger margins lower the loss of right pairs and raise that of wrong ones.
# ```

# %% [markdown]
# The β at which the loss on held-out pairs is lowest says how *sure* the model ought to be. It plays the part of the
# (inverse) temperature of a calibrated classifier {cite:p}`guo2017calibration`, fitted afterwards. If it lies below the β
# of the training, the model is surer of its rankings than it has a right to be, and its evaluation loss is on its way up,
# as Zephyr's was. If it lies above, the model is *less* sure than its accuracy would justify: it was trained gently, and
# its loss could have fallen further.

# %%
log_ratios = margins / beta
grid = np.geomspace(beta / 30, beta * 30, 200)
losses_read = np.array([pair_losses(b * log_ratios).mean() for b in grid])
calibrated = float(grid[losses_read.argmin()])
print(
    f"lowest held-out loss {losses_read.min():.3f} at beta {calibrated:.3f}; "
    f"trained with {beta:g}, loss {pair_losses(margins).mean():.3f}"
)

# %%
fig = figures.loss_curve(
    {"read with this β": dict(zip(grid, losses_read, strict=True))},
    label="held-out loss (nats)",
)
fig.axes[0].set(xscale="log", xlabel="β that the margins are read with")
fig.axes[0].axvline(beta, color="#1a1a1a", linestyle=":", label="trained with")
alt = (
    "The held-out loss against the beta it is read with has its minimum "
    f"{losses_read.min():.3f} at {calibrated:.3f}; the run used {beta:g}."
)
figures.show(
    fig,
    alt=alt,
    caption=(
        "The trained model's held-out loss, read with other values of β. "
        "Dotted: the β of the training."
    ),
)

# %% [markdown]
# What *training* with another β does is another question: the best policy moves by reward / β
# ([Chapter 05](05_ddpo)), so a smaller β lets it move further, and log-ratios grow roughly as β shrinks.
# [Chapter 08](08_ablations) trains with several values and judges the answers.

# %% [markdown]
# ## Is my DPO broken?
#
# The traffic light reads a log, asks all the questions of this chapter, and answers with a colour and its reasons. Red is
# kept for what no healthy run shows; amber is what to look at before you trust the model; green says which frightening
# things are normal.

# %%
print(diagnostics.traffic_light(zephyr, beta=0.1))

# %%
own_light = diagnostics.traffic_light(log, beta=beta)
print(own_light)

# %% [markdown]
# A light that is always green is worth nothing. So we break logs on purpose, one fault at a time, starting from the rows of
# our own run.

# %%
import copy
import json


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
# Each fault has a plain cause: the two answers exchanged somewhere between data and trainer; a β of 0; an adapter whose
# weights do not train; a reference that is not the model one started from; half precision that overflows.

# %%
history = json.loads((pipeline.ddpo().folder / training.LOG).read_text())
lights = {}
for fault in (swap_sides, no_beta, freeze, another_reference, overflow):
    rows = copy.deepcopy(history)
    for row in rows:
        if "eval_loss" in row:
            fault(row)
    lights[fault.__name__] = diagnostics.traffic_light(
        diagnostics.read_training_log(rows), beta=beta
    )
    print(
        f"{fault.__name__}: {lights[fault.__name__].colour}\n    "
        f"{lights[fault.__name__].reasons[0].text}"
    )
assert pipeline.own_data or all(light.colour == "red" for light in lights.values()), (
    "a broken log passed: read its reasons"
)

# %% [markdown]
# ### Labels the wrong way round
#
# Now a fault that is real and trained: a short run on a few hundred pairs whose labels were *all swapped* before training, the
# held-out ones with them, as happens when a column is read the wrong way round. (At larger scales it would cost minutes of a
# GPU, and is left out.)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# What will the traffic light say of that run's log: green, amber or red?
# ```

# %%
def swapped(pair):
    return pair | {"chosen": pair["rejected"], "rejected": pair["chosen"]}


swapped_log = None
if pipeline.scale == "miniature":
    train_pairs, _, _ = pipeline.split_pairs()
    with tempfile.TemporaryDirectory() as folder:
        recipe = pipeline.recipe("ddpo") | {"eval_steps": 0.25, "save_strategy": "no"}
        wrong_way = (
            [swapped(pair) for pair in train_pairs[:320]],
            [swapped(pair) for pair in held_out[:64]],
        )
        run = training.ddpo(
            pipeline.model_directory("dsft"),
            wrong_way[0], Path(folder), recipe, wrong_way[1],
        )
    swapped_log = diagnostics.read_training_log(run.log)

# %%
if swapped_log is not None:
    swapped_light = diagnostics.traffic_light(swapped_log, beta=beta)
    print(swapped_light)
    agree = swapped_log.evaluation["rewards/accuracies"][-1]
    print(
        f"\naccuracy as logged {agree:.2f}; "
        f"against the labels as they should be about {1 - agree:.2f}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Nothing in the log is red. Loss, rewards, β, reference: all are what they should be, because the run *is* sound; it learnt
# what it was told. Who expected red trusted the log to know which answer is good. A log compares a model with its labels,
# and wrong labels that are wrong throughout look like right ones. What helps against it: read some pairs before training
# ([Chapter 04](04_preference_pairs)), read some answers after it, and let somebody judge them who has not made the labels
# ([Chapter 07](07_evaluation)).
# ```

# %% [markdown]
# ## Side by side
#
# The last evaluation of published runs beside ours. A range stands for several runs. Runs differ in β: those of the handbook's
# second recipe used 0.01, so their margins cannot be compared with the others.

# %%
def text(value):
    return (
        ""
        if value is None
        else f"{value[0]:g} to {value[1]:g}"
        if isinstance(value, list)
        else f"{value:.4g}"
    )


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
display(
    HTML(
        before_after_table(
            rows,
            caption=(
                "The last evaluation of published dDPO runs, "
                "and ours over all held-out pairs."
            ),
        )
    )
)

# %% [markdown]
# | | paper | model card of Zephyr-7B-beta | its log | ours |
# |---|---|---|---|---|
# | β | 0.1 | not in its table | 0.1000, by regression | the recipe's, and by regression |
# | accuracy is measured on | not said | 1,000 evaluation rows | 64 of them | all held-out pairs, with an interval |
# | overfitting | training accuracy near 1 after one epoch; answers still get better | loss 0.7496 | loss lowest at step 400 | see your own curves above |
# | chosen answers | not said | reward −4.52 | −45 nats of −254 | see above |

# %% [markdown]
# ## What you should see
#
# If one of these stops you, its message says where to look first.

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
        "the labels' truth should show: rebuild the world"
    )

# %% [markdown]
# ```{admonition} Pitfalls
# :class: warning
# - **A margin without β is no number.** Compare runs of one β only, or compare log-ratios.
# - **Training rows are not a test set.** Their accuracy goes to 1 by memorising.
# - **Log-probabilities are sums over tokens.** Long answers have large ones, and large changes. Means over answers of mixed
#   lengths are ruled by the long ones.
# - **An accuracy has an interval.** Below some thousand pairs, the second digit is noise.
# - **The best evaluation loss is not the best model.** Zephyr was trained on for 5,400 steps behind it.
# - **A green light is no certificate.** It says that the run did what the labels asked.
# ```

# %% [markdown]
# ## Your turn: your own log, your own pairs
#
# Give the log of a run of yours: `trainer_state.json` of a checkpoint, a model card, a TensorBoard event file, an export of
# Weights & Biases, or rows as CSV or JSON Lines. Nothing is trained and nothing leaves your machine. Runs with other losses
# (IPO, KTO, ORPO, SimPO) are judged by what holds for them; the log of another method, GRPO say, is refused.

# %%
my_log = ""  # a path: "checkpoint-500/trainer_state.json"
if my_log:
    print(diagnostics.traffic_light(diagnostics.read_training_log(my_log)))

# %% [markdown]
# From a terminal: `zephyr check-log trainer_state.json --beta 0.1`. And with preference pairs of your own, the whole chapter
# speaks of them: set `preferences` in the dials, or `zephyr run --preferences FILE.jsonl --chapters 06`. No category and no
# truth will be known then; the gap of the scores, the tokens and the explorer are still there. The pairs with the lowest
# margins are the ones to read first: wrong labels gather there.

# %% [markdown]
# ## Recap
#
# - Implicit rewards, margins and accuracy come from four sums, and a bootstrap over all pairs gives the interval (steps 1 to 4)
# - Negative rewards, a rising evaluation loss and stairs are normal; the table of curves and the traffic light say what is not
# - β is the slope of rewards over log-probabilities on a fixed set, the reference is where the line crosses zero (step 5,
#   exercise *β from a log*)
# - Accuracies that are multiples of 1/64 were measured on 64 pairs, and are good to ten points (exercises *How many pairs*
#   and *On how many examples*)
# - A pair is learned by distance alone, so a chosen answer may fall; the tokens tell where (steps 6 and 7, exercise *Learned,
#   and yet less likely*)

# %% [markdown]
# ## References
#
# The paper {cite:p}`tunstall2023zephyr`, its curves in figure 3 and its log on the model card; DPO {cite:p}`rafailov2023dpo`,
# section 4 and equations 5 to 7; likelihood displacement {cite:p}`razin2024unintentional`; calibration by one temperature
# {cite:p}`guo2017calibration`. The single-process metrics are described in TRL's issue 2468.

# %% tags=["remove-cell"]
from zephyr_utils.pipeline.artefacts import write_metrics

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
