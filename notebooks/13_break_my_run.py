# %% [markdown]
# # Break my run: nine logs, eight faults
#
# [Chapter 06](06_reward_margins) said which curves of a dDPO log are normal. Here you are the one who is asked: *what is wrong
# with my run?* Nine times the miniature was trained for a few dozen optimiser steps (steps, from here on), eight times with a
# fault that has cost people days: a wrong reference, a wrong β, a mask that is off, a token too many, half precision,
# swapped pairs, a learning rate, another model's template. One run is healthy. The logs are real, each from a training
# with its fault planted in it (`benchmarks/broken_runs.py`), and no number in them was changed afterwards. You read the log
# and choose a diagnosis; then the traffic light answers. It does not find all of them, and you will see which it cannot.

# %% [markdown]
# ## What you will be able to do
#
# 1. Tell eight usual faults of a preference run by its log, and a healthy run from them.
# 2. Turn the first evaluation into nats per answer, and say from it whether policy and reference are one model that reads one
#    text.
# 3. Say what a single log cannot show, and find it beside the log of a healthy run.
# 4. Write a program that names the fault from the rows of a log alone.

# %% tags=["hide-input"]
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% [markdown]
# Nothing is trained on this page and no model is loaded, so it takes seconds at any scale.

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

import numpy as np
from IPython.display import HTML, Markdown, display

from zephyr_utils import diagnostics, exercises, figures, lessons
from zephyr_utils.diagnostics.broken_runs import (
    FAULTS, LETTERS, RUN_BETA, RUN_RATE, broken_run,
)
from zephyr_utils.figures import before_after_table
from zephyr_utils.pipeline.artefacts import write_metrics
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
LOGS = {name: diagnostics.read_training_log(broken_run(name)) for name in LETTERS}

# %% [markdown]
# ## How the logs are shown
#
# All runs have one recipe: the miniature's dDPO with β = 0.1, from the same dSFT model, on the same pairs in the same order,
# and the same held-out pairs measured before the first step and after every tenth. So whatever differs between two logs, a
# fault made it. Three drawings and a table for each: the loss; the rewards; the log-probabilities of the answers, which are
# sums in nats; and the held-out rows as numbers. Below the table are the gradient norms and the highest learning rate.

# %% tags=["hide-input"]
def drawn(axes, log, kind, name, n):
    columns = log.rows(kind)
    values = columns.get(name, np.full(columns["step"].size, math.nan))
    there = np.isfinite(values)
    label = name.split("/")[-1] if "/" in name else f"{name}, {kind}"
    axes.plot(
        columns["step"][there], values[there], label=label, color=figures.COLOURS[n],
        linestyle=figures.LINE_STYLES[n], marker=figures.MARKERS[n],
    )


SIDES = ("chosen", "rejected")
PANELS = {
    "loss (nats)": [("training", "loss"), ("evaluation", "loss")],
    "held-out rewards": [("evaluation", f"rewards/{s}") for s in (*SIDES, "margins")],
    "held-out log-probabilities (nats)": [
        ("evaluation", f"logps/{side}") for side in SIDES
    ],
}

# %% tags=["hide-input"]
COLUMNS = {
    "loss": "loss", "chosen": "rewards/chosen", "rejected": "rewards/rejected",
    "margin": "rewards/margins", "accuracy": "rewards/accuracies",
    "logp chosen": "logps/chosen", "logp rejected": "logps/rejected",
}


def held_out_rows(log):
    columns = log.evaluation
    empty = np.full(columns["step"].size, math.nan)
    return [
        {"held out": f"step {step:.0f}"}
        | {
            short: f"{columns.get(name, empty)[n]:.4g}".replace("-", "−")
            for short, name in COLUMNS.items()
        }
        for n, step in enumerate(columns["step"])
    ]


def gradients(log):
    norms = ", ".join(f"{norm:.3g}" for norm in log.training["grad_norm"])
    rate = log.training["learning_rate"].max()
    return f"Gradient norms: {norms}. Highest learning rate: {rate:g}."

# %% tags=["hide-input"]
def show_run(name):
    log = LOGS[name]
    fig, panels = figures.figure(3, width=10.5, height=3)
    for axes, (title, series) in zip(panels, PANELS.items()):
        for n, (kind, column) in enumerate(series):
            drawn(axes, log, kind, column, n)
        axes.set(title=title, xlabel="step")
        axes.legend()
    rows = held_out_rows(log)
    alt = f"The curves of run {name}; all held-out values are in the table below."
    caption = f"Run {name}: loss, held-out rewards and log-probabilities by step."
    figures.show(fig, alt=alt, caption=caption)
    table = before_after_table(rows, caption=f"Run {name}, held-out pairs.")
    display(HTML(f'<div style="overflow-x:auto">{table}</div>'))  # on a phone
    print(gradients(log))


def answer(name):
    light = diagnostics.traffic_light(LOGS[name], beta=RUN_BETA)
    print(light)
    return light


def offered(*faults):
    return [FAULTS[fault] for fault in faults]


def place(name, faults):
    return faults.index(LETTERS[name])

# %% [markdown]
# ## Three that show at once
#
# ### Run A
#
# Compare what the run does on the pairs it trains on with what it does on those it does not.

# %% tags=["hide-input"]
show_run("A")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run A?",
    offered(*(options_a := ["learning rate", "swapped", "reference", "healthy"])),
    key="run-a",
)

# %% tags=["hide-output"]
light_a = answer("A")

trained = LOGS["A"].training["rewards/margins"][1:].mean()
held = LOGS["A"].evaluation["rewards/margins"][-1]

# %% tags=["remove-input"]
lessons.explain(
    "Chosen and rejected were swapped in the training file, and not in the held-out "
    f"one. On training rows the mean margin is {trained:+.2f}: the run learns what it "
    f"is told. On held-out pairs it ends at {held:+.2f}. So it has learned "
    "something that the held-out labels contradict; a run that fails to learn has "
    "margins around zero in both. The loss on training pairs is no help: it falls as "
    "it should. Without held-out rows this run would pass for a good one.",
    key="run-a", answer=place("A", options_a),
)

# %% [markdown]
# ### Run B

# %% tags=["hide-input"]
show_run("B")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run B?",
    offered(*(options_b := ["learning rate", "reference", "half precision", "beta"])),
    key="run-b",
)

# %% tags=["hide-output"]
light_b = answer("B")
print(len(LOGS["B"].not_finite), "values are not finite; the first:")
print(LOGS["B"].not_finite[0])
print("gradient norms:", *(f"{norm:g}" for norm in LOGS["B"].training["grad_norm"]))

smallest = float(np.finfo(np.float16).smallest_subnormal)
lost_at = LOGS["B"].not_finite[0].partition(":")[0]

# %% tags=["remove-input"]
lessons.explain(
    "Weights, adapter and optimiser were in `float16`. The forward pass holds: the "
    f"first row has a loss of {LOGS['B'].evaluation['loss'][0]:.4f}. AdamW does not. "
    "It divides by the root of a mean of *squared* gradients. The square of a gradient "
    f"below {smallest**0.5:.1e} is less than the smallest number that `float16` has, "
    "so it becomes zero, and a step that is divided by next to nothing is huge. The "
    "run diverges at the learning rate of all others, and from "
    f"{lost_at} on its weights are not numbers. The trainer then logs a loss of "
    f"{LOGS['B'].training['loss'][-1]:.0f}, because it leaves NaN out of its running "
    "mean: such a zero is not a success. The gradient norms tell it earlier. Each is a "
    "number that `float16` can hold, with few binary digits. Keep what the optimiser "
    "touches in `float32`; for the forward pass `bfloat16`, which has the same range, "
    "will do.",
    key="run-b", answer=place("B", options_b),
)

# %% [markdown]
# ### Run C

# %% tags=["hide-input"]
show_run("C")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run C?",
    offered(*(options_c := ["swapped", "beta", "mask", "learning rate"])),
    key="run-c",
)

# %% tags=["hide-output"]
light_c = answer("C")

lost = [
    LOGS["C"].evaluation[f"logps/{side}"][-1] - LOGS["C"].evaluation[f"logps/{side}"][0]
    for side in SIDES
]

# %% tags=["remove-input"]
lessons.explain(
    f"The learning rate, a hundred times too high. The chosen answers lost "
    f"{-lost[0]:.0f} nats and the rejected ones {-lost[1]:.0f}: at that depth neither "
    f"is an answer any more. The largest loss is "
    f"{LOGS['C'].training['loss'].max():.2f}, where guessing costs ln 2. Run B looked "
    "much the same, at a learning rate that suits all others; here the highest is "
    f"{LOGS['C'].training['learning_rate'].max():g}. A β that is too small lets the "
    "policy go far as well, but then the *rewards* stay small.",
    key="run-c", answer=place("C", options_c),
)

# %% [markdown]
# ## Three that show in numbers
#
# Before the first step the policy is its reference, so all rewards are 0. Where they are not, divide them by β: what comes
# out is by how many nats policy and reference differ on an answer. Tens of nats have another cause than a few, or a part of one.

# %% [markdown]
# ````{exercise} Off by how much?
# :label: ex-13-nats
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# `rows` is a log as the trainer keeps it, a list of dictionaries, and `beta` the one that was used. Return `(chosen,
# rejected)`: by how many nats the policy's log-probability of an answer lies above the reference's before the first step, on
# held-out pairs. Names of held-out columns begin with `eval_`; the rows need not be in order.
# ````

# %% tags=["exercise"]
def nats_at_start(rows, beta):
    ...


exercises.check_nats_at_start(nats_at_start)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The row with `eval_rewards/chosen` whose step is 0.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# A reward is β times a difference of log-probabilities ([Chapter 06](06_reward_margins), {eq}`eq-06-reward`).
# ```

# %% [markdown]
# `````{solution} ex-13-nats
# :class: dropdown
# ```python
# def nats_at_start(rows, beta):
#     first = next(
#         row for row in rows if "eval_rewards/chosen" in row and row["step"] == 0
#     )
#     sides = ("chosen", "rejected")
#     return tuple(first[f"eval_rewards/{side}"] / beta for side in sides)
# ```
# `````

# %% [markdown]
# Your function on all nine logs. Two of them are not 0:

# %%
off = exercises.yours(nats_at_start, exercises.check_nats_at_start)
starts = {name: off(broken_run(name), RUN_BETA) for name in LETTERS}
for name, (chosen, rejected) in starts.items():
    print(f"run {name}: chosen {chosen:+7.2f} nats, rejected {rejected:+7.2f}")

# %% [markdown]
# ### Run D

# %% tags=["hide-input"]
show_run("D")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run D?",
    offered(*(options_d := ["bos", "reference", "template", "healthy"])),
    key="run-d",
)

# %% tags=["hide-output"]
light_d = answer("D")

# %% tags=["remove-input"]
lessons.explain(
    "The rows of the trainer begin with the beginning-of-sequence token twice, once by "
    "the template and once by the tokenizer. The reference's log-probabilities were "
    "computed beforehand, from the text without it. Two tokens that nobody sees change "
    f"an answer by {abs(starts['D'][0]):.2f} and {abs(starts['D'][1]):.2f} nats. The "
    "miniature hardly minds, and the run learns. The first row gives it away all the "
    "same: rewards that are not zero, and an accuracy of "
    f"{LOGS['D'].evaluation['rewards/accuracies'][0]:.2f} where every pair should be a "
    "tie and none counts. Another model as the reference is off by tens of nats. "
    "*Another model's template for both* is a good guess, but what policy and "
    "reference share leaves the rewards at exactly zero.",
    key="run-d", answer=place("D", options_d),
)

# %% [markdown]
# ### Run E

# %% tags=["hide-input"]
show_run("E")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run E?",
    offered(*(options_e := ["learning rate", "beta", "healthy", "mask"])),
    key="run-e",
)

# %% tags=["hide-output"]
light_e = answer("E")
untold = diagnostics.traffic_light(LOGS["E"]).colour
implied = diagnostics.implied_beta(LOGS["E"])
print(implied)

moved = {
    name: LOGS[name].evaluation["logps/rejected"][-1]
    - LOGS[name].evaluation["logps/rejected"][0]
    for name in ("E", "H")
}

# %% tags=["remove-input"]
lessons.explain(
    f"β: the slope of rewards over log-probabilities is {implied.beta:.4f}, and the "
    f"recipe says {RUN_BETA:g}. Look at the scale of the rewards against that of the "
    "log-probabilities: the rejected answers moved by "
    f"{moved['E']:+.1f} nats and their reward by β times that. The loss hardly "
    "leaves ln 2, which is often taken for a learning rate that is too low. It is the "
    "other way round: a small β ties the policy less closely to its reference, and it "
    f"went {moved['E'] / moved['H']:.1f} times as far as that of run H in as many "
    "steps. The traffic light compares the slope with the β that it is told; without "
    f"one it calls this run {untold}.",
    key="run-e", answer=place("E", options_e),
)

# %% [markdown]
# ### Run F
#
# Look at the first loss before you look at anything else. Then do not trust it.

# %% tags=["hide-input"]
show_run("F")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run F?",
    offered(*(options_f := ["bos", "reference", "swapped", "healthy"])),
    key="run-f",
)

# %% tags=["hide-output"]
light_f = answer("F")

# %% tags=["remove-input"]
lessons.explain(
    "The reference was the *base* model, not the dSFT model: the policy is "
    f"{starts['F'][0]:+.0f} nats ahead of it on chosen answers and "
    f"{starts['F'][1]:+.0f} on rejected ones before it has learned anything. The first "
    f"held-out loss is {LOGS['F'].evaluation['loss'][0]:.3f}. Large margins of both "
    "signs can add up to a loss near ln 2, so a first loss of ln 2 is necessary and "
    "not sufficient; the first *rewards* decide. All that the run learns is measured "
    "from a model that cannot answer: some pairs count as settled before the first "
    "step and hardly pull, whatever the policy says.",
    key="run-f", answer=place("F", options_f),
)

# %% [markdown]
# ## Three that hide
#
# All three begin with rewards of 0, and all three learn. One of them is healthy.
#
# ### Run G

# %% tags=["hide-input"]
show_run("G")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run G?",
    offered(*(options_g := ["healthy", "template", "mask", "bos"])),
    key="run-g",
)

# %% tags=["hide-output"]
light_g = answer("G")

before = {name: LOGS[name].evaluation["logps/chosen"][0] for name in "GHI"}

# %% tags=["remove-input"]
lessons.explain(
    f"The light is {light_g.colour}, and the run is broken: it was trained in the "
    "template of another model, which the dSFT model has never seen. Policy and "
    "reference read the same wrong text, so rewards, loss and margins are what they "
    "should be. The trace is in the log-probabilities: the chosen answers begin at "
    f"{before['G']:.1f} nats, in run H at {before['H']:.1f}. You cannot know that from "
    "one log. In use, the model is asked in its own template and has learned its "
    "preferences in another.",
    key="run-g", answer=place("G", options_g),
)

# %% [markdown]
# ### Run H

# %% tags=["hide-input"]
show_run("H")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run H?",
    offered(*(options_h := ["template", "mask", "beta", "healthy"])),
    key="run-h",
)

# %% tags=["hide-output"]
light_h = answer("H")

# %% tags=["remove-input"]
lessons.explain(
    "Nothing. A short run on few pairs has a small margin and a loss not far below "
    f"ln 2 ({LOGS['H'].evaluation['loss'][-1]:.3f} in the end), and its accuracy is "
    "measured on few pairs. All runs measure the same held-out pairs; the light gives "
    "the smallest number that fits a log's accuracies, so it can be too small: "
    f"{diagnostics.accuracy_examples(LOGS['H'])} here, "
    f"{diagnostics.accuracy_examples(LOGS['A'])} for run A. If you found a fault here, "
    "ask which row proves it.",
    key="run-h", answer=place("H", options_h),
)

# %% [markdown]
# ### Run I

# %% tags=["hide-input"]
show_run("I")

# %% tags=["remove-input"]
lessons.predict(
    "What is wrong with run I?",
    offered(*(options_i := ["healthy", "template", "learning rate", "mask"])),
    key="run-i",
)

# %% tags=["hide-output"]
light_i = answer("I")
for name in "HI":
    margins = LOGS[name].evaluation["rewards/margins"]
    print(f"run {name}, margins:", "  ".join(f"{margin:.4f}" for margin in margins))

apart = abs(
    LOGS["I"].evaluation["rewards/margins"] - LOGS["H"].evaluation["rewards/margins"]
).max()

# %% tags=["remove-input"]
lessons.explain(
    "The mask was off: the prompt counts as part of both answers. Compare the margins "
    f"with those of run H: they differ by at most {apart:.0e}. Chosen and rejected "
    "answer have one prompt, so its log-probability is in both sums and cancels in "
    "their difference, and the loss and its gradient with it. In dSFT the mask decides "
    "what is learned; in DPO with one prompt per pair it decides what is *logged*. "
    f"The chosen answers begin at {before['I']:.1f} nats in place of "
    f"{before['H']:.1f}, and their reward is that of prompt and answer together. It "
    "matters once lengths do: a loss that divides by the number of tokens, or a row "
    "that is cut.",
    key="run-i", answer=place("I", options_i),
)

# %% [markdown]
# ## Beside a healthy log
#
# What policy and reference share, one log cannot show: rewards and margins are differences, and it cancels. The
# log-probabilities before the first step are not differences. They depend on the model, on the text, and on which of its
# tokens count. So keep the log of a run that you trust, and lay each new one beside it.

# %% [markdown]
# ````{exercise} Beside a healthy run
# :label: ex-13-beside
#
# **Difficulty** ●●●○○ · **Minutes** 12
#
# `own` and `healthy` are `(chosen, rejected)`: held-out log-probabilities in nats before the first step, of the same model on
# the same pairs. Return `"same"` if both differ by at most 0.2 nats; `"swapped"` if that holds once one of the two is turned
# round; `"mask"` if both answers differ by the same amount to 0.2 nats, as they do when the prompt counts; else `"text"`.
# ````

# %% tags=["exercise"]
def beside(own, healthy):
    ...


exercises.check_beside_healthy(beside)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Four comparisons in the order of the text; the first that holds is the answer.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# For the mask, subtract: `(own[0] - healthy[0]) - (own[1] - healthy[1])` is near 0, whatever the prompt cost.
# ```

# %% [markdown]
# `````{solution} ex-13-beside
# :class: dropdown
# ```python
# def beside(own, healthy):
#     def near(a, b):
#         return abs(a - b) <= 0.2
#
#     if near(own[0], healthy[0]) and near(own[1], healthy[1]):
#         return "same"
#     if near(own[0], healthy[1]) and near(own[1], healthy[0]):
#         return "swapped"
#     return "mask" if near(own[0] - healthy[0], own[1] - healthy[1]) else "text"
# ```
# `````

# %% [markdown]
# The traffic light does the same when it is given a healthy log. From a terminal: `zephyr check-log mine.json --beta 0.1
# --healthy trusted.json`.

# %% tags=["remove-input"]
lessons.predict(
    "Of the eight faults, how many does the traffic light find from the log alone?",
    ["four or five", "six", "all eight"],
    key="caught",
)

# %% tags=["hide-output"]
compared = exercises.yours(beside, exercises.check_beside_healthy)


def at_start(name):
    return tuple(LOGS[name].evaluation[f"logps/{side}"][0] for side in SIDES)


alone, with_healthy, rows = {}, {}, []
for name in LETTERS:
    alone[name] = diagnostics.traffic_light(LOGS[name], RUN_BETA).colour
    light = diagnostics.traffic_light(LOGS[name], RUN_BETA, healthy=LOGS["H"])
    with_healthy[name] = light.colour
    yours = compared(at_start(name), at_start("H"))
    rows.append((name, alone[name], light.colour, yours, FAULTS[LETTERS[name]]))
display(Markdown(markdown_table(
    ("run", "alone", "beside H", "yours", "what is wrong"), rows
)))

faulty = [name for name in LETTERS if LETTERS[name] != "healthy"]
caught = [name for name in faulty if alone[name] != "green"]
beside_caught = [name for name in faulty if with_healthy[name] != "green"]

missed = [FAULTS[LETTERS[name]] for name in faulty if name not in caught]

# %% tags=["remove-input"]
lessons.explain(
    f"{len(caught)} of {len(faulty)}. It misses: {'; '.join(missed) or 'none'}. Beside "
    f"the healthy log it finds {len(beside_caught)}. Pairs that are swapped in the "
    "training file *and* in the held-out one belong to those that hide; Chapter 06 "
    "trained such a run.",
    key="caught", answer=0 if len(caught) < 6 else 1 if len(caught) == 6 else 2,
)

# %% [markdown]
# What you should see: the healthy run is not red, and beside it all eight are found.

# %%
assert alone["H"] != "red", "a light that is red for a healthy run is worth nothing"
assert len(beside_caught) == len(faulty), (
    "a fault passes even beside a healthy log: read its reasons"
)

# %% [markdown]
# ## Write the diagnosis
#
# ````{exercise} Find the fault
# :label: ex-13-find
#
# **Difficulty** ●●●●○ · **Minutes** 30
#
# `rows` is the log of one run as the trainer keeps it: dictionaries, those with `eval_loss` measured on held-out pairs, those
# with `loss` on the pairs in training. A value that was NaN is None. `beta` and `rate` are those of the recipe. Return
# `"half precision"`, `"learning rate"`, `"reference"`, `"bos"`, `"beta"`, `"swapped"`, or `"none"` where the rows prove no
# fault. The thresholds are yours. Your function is graded on the nine logs of this page, whole and cut off after 30 steps.
# ````

# %% tags=["exercise"]
def find_fault(rows, beta, rate):
    ...


exercises.check_find_fault(find_fault)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# One rule per fault, and the order matters: what is not a number cannot be compared, so look for None first. A run that diverged
# has margins of any sign, so ask for that before you look at margins. Two runs diverge: one at the recipe's rate.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `nats_at_start` tells two faults apart by size. β is a slope: the change of `eval_rewards/rejected` over that of
# `eval_logps/rejected`, between the first and the last held-out row.
# ```
#
# ```{admonition} Hint 3
# :class: tip dropdown
# Swapped pairs: the last margins on training and on held-out pairs have different signs.
# ```

# %% [markdown]
# `````{solution} ex-13-find
# :class: dropdown
# ```python
# import math
#
# def find_fault(rows, beta, rate):
#     if any(value is None for row in rows for value in row.values()):
#         return "half precision"
#     held_out = [row for row in rows if "eval_loss" in row]
#     training = [row for row in rows if "loss" in row]
#     first, last = held_out[0], held_out[-1]
#     off = max(abs(first[f"eval_rewards/{side}"]) for side in ("chosen", "rejected"))
#     if off / beta > 10:
#         return "reference"
#     if off / beta > 0.1:
#         return "bos"
#     if max(row["loss"] for row in training) > 2 * math.log(2):
#         highest = max(row["learning_rate"] for row in training)
#         return "learning rate" if highest > 3 * rate else "half precision"
#     moved = last["eval_logps/rejected"] - first["eval_logps/rejected"]
#     slope = (last["eval_rewards/rejected"] - first["eval_rewards/rejected"]) / moved
#     if not 0.5 < slope / beta < 2:
#         return "beta"
#     if last["eval_rewards/margins"] < 0 < training[-1]["rewards/margins"]:
#         return "swapped"
#     return "none"
# ```
# `````

# %% [markdown]
# Yours beside what was planted:

# %%
diagnose = exercises.yours(find_fault, exercises.check_find_fault)
for name in LETTERS:
    found = diagnose(broken_run(name), RUN_BETA, RUN_RATE)
    print(f"run {name}: {found:15s} planted: {LETTERS[name]}")

# %% [markdown]
# ## Your turn with your own log
#
# Give the log of a run of yours, and that of one you trust if you have it: `trainer_state.json` of a checkpoint, rows as JSON
# Lines or CSV, an export of Weights & Biases, a TensorBoard event file.

# %%
my_log, my_healthy_log = "", ""  # paths
if my_log:
    known = diagnostics.read_training_log(my_healthy_log) if my_healthy_log else None
    mine = diagnostics.read_training_log(my_log)
    print(diagnostics.traffic_light(mine, healthy=known))

# %% [markdown]
# To break a run of your own, plant a fault in `benchmarks/broken_runs.py`, where each is a line or two, and train it. A fault
# that you have made once on purpose you will recognise.
#
# ```{admonition} What to do in each case
# :class: note dropdown
# | fault | first check | remedy |
# |---|---|---|
# | wrong reference | rewards at step 0 in nats, tens | merge dSFT; leave `ref_model` out under LoRA |
# | doubled BOS, other template, truncation | rewards at step 0 in nats, a few or a part of one | print the first row's tokens under both |
# | template or mask that both share | log-probabilities at step 0 beside a healthy run | `tokenizer.decode` of one row, and which tokens count |
# | β | slope of rewards over log-probabilities | the recipe that was really read |
# | half precision | null, a loss of exactly 0, a run that diverges at a usual rate | float32 or bfloat16; optimiser in float32 |
# | swapped pairs | margins of training and held-out rows | read ten pairs |
# | learning rate | loss above ln 2, answers that lose tens of nats | a tenth, and warm-up |
# ```

# %% [markdown]
# ## Recap
#
# 1. Eight faults and a healthy run: six show in the curves or in the first row, two do not (runs A to I);
#    [your function](ex-13-find) tells the six and the healthy run apart
# 2. Rewards at step 0 divided by β are nats: tens for another model, fewer for another text ([exercise](ex-13-nats))
# 3. What policy and reference share cancels in every difference, and shows beside a healthy log ([exercise](ex-13-beside))
# 4. The rules fit into a function ([exercise](ex-13-find))

# %% [markdown]
# ## References
#
# The runs are our own; versions, settings and the hash of the model they began with are in
# `zephyr_utils/diagnostics/broken_logs/stamp.json`. DPO's reward: {cite:t}`rafailov2023dpo`, equation 5. That a trainer may
# log 0 for NaN is `logging_nan_inf_filter` of `transformers.TrainingArguments`.

# %% tags=["remove-cell"]
write_metrics(
    pipeline.folder / "13_break_my_run",
    {
        "faults": len(faulty),
        "caught_alone": len(caught),
        "caught_beside_healthy": len(beside_caught),
    },
)
