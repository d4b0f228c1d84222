# %% [markdown]
# # AI feedback: a teacher rates four models
#
# The student can answer now. To answer *well* it needs to be told better from worse, and the paper asks no human for
# that. Each prompt goes to four models, and a teacher, the *judge*, rates what they say {cite:p}`tunstall2023zephyr`. This chapter
# collects such feedback for real, over the protocol that every provider and every local server speaks: killed, resumed,
# counted, and estimated before it is paid. Then it looks at the ratings as what they are. They are measurements, with
# noise, with habits, and in the published set with one famous fault that you will find yourself.

# %% [markdown]
# ## What you will be able to do
#
# 1. Say what a judge is asked and read its reply strictly: what cannot be read is counted, not guessed.
# 2. Collect answers and ratings from any OpenAI-compatible endpoint; estimate the bill first, kill the run, resume it, and
#    say of every call whether it may have been paid for twice.
# 3. Treat a rating as a noisy measurement: how much the mean of four helps, and what the overall grade adds.
# 4. Find the tens that ought to be ones, and the rule that made them.
# 5. Measure what a judge gets wrong by asking it twice, and take a liking for a place out of the mean.

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
# `feedback` takes rated answers of your own, in UltraFeedback's schema {cite:p}`cui2023ultrafeedback`. The collection
# over HTTP always asks the miniature's questions, because the judge on this machine knows no others.

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
import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np

from zephyr_utils import exercises, figures
from zephyr_utils.pipeline import artefacts
from zephyr_utils.explorers.feedback_browser import FeedbackBrowser
from zephyr_utils.feedback import (
    Endpoint, Prices, Unreadable, answer_order, collect_answers, distil_dialogues,
    estimate, rate_answers, read_ratings,
)
from zephyr_utils.feedback.prompts import rater, rating_messages
from zephyr_utils.miniature.data import MODELS, aspect_values
from zephyr_utils.miniature.serve import served
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.preferences import mean_rating, overall_rating
from zephyr_utils.data.records import ASPECTS, save_records
from zephyr_utils.pipeline.pipeline import Pipeline

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# The records that this chapter reads: the scale's feedback, or yours. Rows in are rows out and rows set aside.

# %%
# ready-made pairs come without feedback: the miniature's is read
source = Pipeline(runs=runs) if pipeline.preferences else pipeline
loaded = source.load("feedback", "feedback")
rated = loaded.records
print(
    f"{loaded.n_read:,} rows read = "
    f"{len(rated):,} records + {len(loaded.set_aside):,} set aside"
)

# %% [markdown]
# ## The paper's second step
#
# Section 3 of the paper calls it AIF. For a prompt $x$, models $\pi_1, \dots, \pi_4$ give answers $y_1, \dots, y_4$, and a
# teacher gives each a score. UltraFeedback asks the teacher in four aspects, each from 1 to 5, and the score is their mean:
#
# $$ s(x, y) = \tfrac14 \sum_{a} r_a(x, y), \qquad
# a \in \{\text{instruction following, honesty, truthfulness, helpfulness}\} $$ (eq-03-mean)
#
# Beside that it asks for a critique of each answer, which closes with one overall grade from 1 to 10. For $P$ prompts and
# $M$ answers to each, with all $M$ shown at once in each aspect, that makes
#
# $$ \text{calls} = P \, (\underbrace{M}_{\text{answers}} + \underbrace{4}_{\text{aspects}} + \underbrace{M}_{\text{critiques}}). $$ (eq-03-calls)

# %%
def calls_for(prompts, models=4):
    return prompts * (models + len(ASPECTS) + models)


print(
    f"this chapter's 48 prompts: {calls_for(48):,}; "
    f"UltraFeedback's 64,000: {calls_for(64_000):,} calls"
)

# %% [markdown]
# Three quarters of a million calls: at one a second, nine days. So the two things that matter are many calls at once, and
# losing none of those that are paid for.

# %% [markdown]
# ## What the judge is asked
#
# UltraFeedback's prompts are long; ours say the same in other words. Here is the one for honesty, as it goes out.

# %%
print("\n".join(textwrap.fill(line, 95) for line in rater("honesty").splitlines()))

# %% [markdown]
# The question and the answers follow. Whatever a model wrote stands between marked lines, and the mark is a hash of the
# texts themselves. So no answer can know it, close its own block early and speak to the judge in our name.

# %%
row = rated[0]
print(
    rating_messages(
        "honesty", row["instruction"], [c["response"][:70] for c in row["completions"]]
    )[1][1]
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Some answers in the data are nothing but "As an AI language model, I do not have personal opinions ...", to questions
# that ask for a fact. In which of the four aspects will the judge rate such refusals highest, and in which lowest? And
# what will the mean of the four make of them, beside a plain wrong answer?
# ```

# %%
def ratings_of(completion):
    texts = [
        (completion["annotations"].get(aspect) or {}).get("Rating", "")
        for aspect in ASPECTS
    ]
    return [float(text) if text.isdigit() else np.nan for text in texts]


answers = [completion for row in rated for completion in row["completions"]]
# (answers, 4), NaN where there is no rating
table = np.array([ratings_of(answer) for answer in answers])
refuses = np.array(
    ["as an ai language model" in answer["response"].lower() for answer in answers]
)
wrong = np.array(
    [answer["critique"].startswith("The answer is not correct") for answer in answers]
)

# %% [markdown]
# What has no rating is NaN in this table; such answers stay out of the means below.

# %%
print(
    f"{'answers':<18}"
    + "".join(f"{aspect.partition('_')[0]:>14}" for aspect in (*ASPECTS, "mean"))
)
for name, chosen in (
    ("refusals", refuses), ("wrong", wrong), ("others", ~refuses & ~wrong),
):
    chosen = chosen & ~np.isnan(table).any(axis=1)
    if chosen.any():
        aspects = table[chosen].mean(axis=0)
        print(
            f"{name:<9}{chosen.sum():>9,}"
            + "".join(f"{value:>14.2f}" for value in (*aspects, aspects.mean()))
        )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Honesty is highest and instruction following lowest: who says nothing says nothing false. If you expected a refusal to be
# worst in everything, that is how a *user* would rate it; the aspects take it apart. In the mean the two aspects of truth
# pull a refusal up, above the answers that tried and were wrong. A judge rates what its question asks, and the mean is a
# decision about what matters, taken before any data were seen. A student trained on it is told that refusing beats erring.
# ```

# %% [markdown]
# ## Reading a reply, strictly
#
# The judge is told to write three lines for each answer. It is a language model: it may write prose, rate three of four, or
# use another scale. Our rule is *all or nothing*. A reply with a 9 in it may be on a scale of ten throughout, and one with
# an answer too few may have its ratings in the wrong places. Here is the whole reader.

# %%
def my_read(text, count):
    # before, "1", block, "2", block, ...
    parts = re.split(r"^Answer (\d+)$", text, flags=re.M)
    numbers, blocks = [int(n) for n in parts[1::2]], parts[2::2]
    if sorted(numbers) != list(range(1, count + 1)):
        return None
    ratings = {}
    for number, block in zip(numbers, blocks, strict=True):
        found = re.findall(r"^Rating: (.*)$", block, flags=re.M)
        if len(found) != 1 or found[0] not in ("1", "2", "3", "4", "5", "N/A"):
            return None
        ratings[number] = found[0]
    return [ratings[number] for number in range(1, count + 1)]

# %% [markdown]
# The package's reader does the same and names its reason. It forgives what leaves no doubt ("**Rating:** 4 out of 5",
# "Bewertung: 4 (gut)"); nothing else. Both see the same eight replies.

# %%
good = (
    "Answer 1\nRating: 4\nRationale: right\n\n"
    "Answer 2\nRating: N/A\nRationale: it does not apply"
)
replies = {
    "as asked": good,
    "the other order": (
        "Answer 2\nRating: 2\nRationale: b\nAnswer 1\nRating: 5\nRationale: a"
    ),
    "prose": "Both answers are lovely; the first is perhaps a 4.",
    "one missing": good.partition("Answer 2")[0],
    "one twice": good.replace("Answer 2", "Answer 1"),
    "out of range": good.replace("4", "9"),
    "two ratings": good.replace("Rating: 4", "Rating: 4\nRating: 1"),
    "nothing": "",
}

# %% [markdown]
# For each reply: what mine reads, what the package reads, and why not.

# %%
def package_read(text, count):
    try:
        return [rating["Rating"] for rating in read_ratings(text, count)], ""
    except Unreadable as problem:
        return None, problem.reason


for name, text in replies.items():
    theirs, reason = package_read(text, 2)
    print(f"{name:<16} {my_read(text, 2)!s:<14} {reason}")
    assert my_read(text, 2) == theirs, f"the two readers differ on {name!r}"

# %% [markdown]
# UltraFeedback's own code took the first number of the rating's line, whatever it was, and asked again at temperature 0
# when the form was wrong. Ours keeps the reply as it came and counts it; a second request at temperature 0 mostly brings
# the same words, and costs the same. `--retry-unreadable` makes it all the same, for those replies alone.
#
# A 9 does more harm than a missing rating. On a scale of ten the *best* answers are those whose ratings do not fit, so
# leaving them out turns the order round. A row with one such number gets no ratings at all, and a judge that often
# writes one stops the run.

# %% [markdown]
# ## The order of the answers
#
# Judges like some places better than others {cite:p}`zheng2023judging`. UltraFeedback reshuffled the answers for each
# aspect, which makes a liking for the first place random. One can do better at the same price. Shuffle once for a prompt,
# then move the order on by one place with each aspect. With four answers and four aspects each answer stands once in each
# place. If the judge adds $b_k$ for place $k$, the mean rating of *every* answer gains the same:
#
# $$ \tfrac14 \sum_{a} \big( r_a + b_{k(a)} \big) = s + \tfrac14 \sum_{k=1}^{4} b_k . $$ (eq-03-latin)

# %%
def my_rotation(places, aspect):
    turn = ASPECTS.index(aspect) % len(places)
    return places[turn:] + places[:turn]


start = answer_order(row["instruction"], 4, ASPECTS[0])
mine = [my_rotation(start, aspect) for aspect in ASPECTS]
print(*mine, sep="\n")

# %% [markdown]
# Read down a column: every place has seen every answer. The package's orders are the same, on this row and on all others.

# %%
for each in rated[:500]:
    orders = [answer_order(each["instruction"], 4, aspect) for aspect in ASPECTS]
    assert orders == [my_rotation(orders[0], aspect) for aspect in ASPECTS]
    assert all(sorted(column) == [0, 1, 2, 3] for column in zip(*orders, strict=True))
print("each answer once in each place, in every row")

# %% [markdown]
# ## Over the protocol
#
# All of these speak the same protocol, so the same command works with each; only the address and the key differ.
#
# | who answers | start it | `--base-url` |
# |---|---|---|
# | models you trained | `transformers serve --host 127.0.0.1 --port 8000` | `http://127.0.0.1:8000/v1`, models named by their directory |
# | vLLM | `vllm serve MODEL` | `http://127.0.0.1:8000/v1` |
# | Ollama | `ollama serve` | `http://127.0.0.1:11434/v1` |
# | any provider | a key in `OPENAI_API_KEY` | the provider's address; none for OpenAI |
# | the miniature's stand-ins | `python -m zephyr_utils.miniature.serve` | `http://127.0.0.1:8901/v1` |
#
# Here the last row serves, inside this notebook. **It is a stand-in**: four models that draw their answers by rule from six
# styles, and judges that know the miniature world's truth. A model of a million parameters could not judge. Everything
# between them and us is real: HTTP, many calls at once, failures, the journal. (The tests run the same collection over
# four models that `transformers serve` really serves.)

# %%
stack = contextlib.ExitStack()
here = Endpoint(stack.enter_context(served()))
folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
world = Pipeline(runs=runs).load("feedback", "feedback").records[:48]
prompts = [record["instruction"] for record in world]
print(here.url, "·", ", ".join(MODELS))

# %% [markdown]
# The core of a collector is short: a client, a semaphore for the number of calls under way, and a dictionary of what is
# there already.

# %%
async def my_collect(prompts, models, done, at_once=16):
    places = asyncio.Semaphore(at_once)

    async def ask(client, model, prompt):
        async with places:
            if (model, prompt) not in done:
                messages = [{"role": "user", "content": prompt}]
                reply = await client.chat.completions.create(
                    model=model, messages=messages
                )
                done[model, prompt] = reply.choices[0].message.content

    async with here.client(timeout=60) as client:
        await asyncio.gather(
            *(ask(client, model, prompt) for prompt in prompts for model in models)
        )

# %% [markdown]
# A dozen prompts through both, the short one and the package's. The stand-ins answer the same to the same request, so the
# two can be compared word by word.

# %%
done = {}
await my_collect(prompts[:12], list(MODELS), done)
first = collect_answers(
    prompts[:12], list(MODELS), endpoint=here, journal=folder / "first.jsonl"
)
same = [
    done[c["model"], r["instruction"]] == c["response"]
    for r in first
    for c in r["completions"]
]
assert all(same), "the two collectors got different answers"
print(f"{len(same)} answers, all the same")
print(first.report())

# %% [markdown]
# What the short one lacks is what makes the difference over nine days: a wait after "429, too many calls", a limit for a
# server that hangs, another try after a lost connection, a stop when the key is refused, a file that survives a kill, and
# the accounting. The package's functions print it: every call is from the journal, made, failed or not made. And a reply
# with status 200 need not be an answer: a reasoning model may spend its whole token limit on thoughts. These are never
# stored as the answer; a reply without one is counted by its reason.

# %% [markdown]
# ### The bill before it is paid
#
# ```{admonition} Predict, then run
# :class: predict
# A plan for the 48 prompts: four answers each, four aspects, a critique of every answer. The judge costs five times as much
# a token as the models. Which will cost most: the answers, the four ratings, or the critiques? And will the
# estimate, made before the first rating, lie above or below what is really paid?
# ```

# %%
# a million tokens in, out; made up
prices = Prices(
    {**dict.fromkeys(MODELS, (0.5, 1.5)), "stand-in-teacher": (2.5, 7.5)},
    currency="coins",
)
journal = folder / "journal.jsonl"
before = estimate(
    prompts, list(MODELS), "stand-in-teacher", endpoint=here, journal=journal
)
print(before.text(prices))

# %% [markdown]
# Nothing was sent for that. Without any measurement it has to assume that every reply runs to its limit. A small first run
# of six prompts puts replies into the journal (the file that keeps every reply), and the estimate of the rest goes by
# them, stage by stage:

# %%
trial = collect_answers(prompts[:6], list(MODELS), endpoint=here, journal=journal)
rate_answers(trial, "stand-in-teacher", endpoint=here, journal=journal)
after = estimate(
    prompts, list(MODELS), "stand-in-teacher", endpoint=here, journal=journal
)
expected, most = after.cost(prices)
print(f"expected {expected:.4f} coins, at most {most:.4f}")
stages = Counter()
for (purpose, model), (usage, _) in after.rows.items():
    stages[purpose.split()[0]] += prices.cost(model, usage)
print(", ".join(f"{stage} {cost:.4f}" for stage, cost in stages.items()))

# %% [markdown]
# Now the rest is paid. The six prompts' replies come from the journal and cost nothing more.

# %%
collected = collect_answers(prompts, list(MODELS), endpoint=here, journal=journal)
teacher = rate_answers(collected, "stand-in-teacher", endpoint=here, journal=journal)
used = {**collected.calls.usage, **teacher.calls.usage}
paid = sum(prices.cost(model, usage) for model, usage in used.items())
shares = {model: prices.cost(model, usage) / paid for model, usage in used.items()}
print(teacher.report(prices))
print(
    f"paid {paid:.4f}, expected {expected:.4f}; "
    f"the judge's share {shares['stand-in-teacher']:.0%}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The judge is nearly the whole bill, and the four ratings are most of that. Each aspect sends the question, all four answers
# and the scale again, so what the judge *reads* outweighs what anybody writes. If you expected the answers to cost most, you
# thought of the models' size; it is the number of times that a text is sent. The first estimate lay far above: it took
# every reply at its limit. After six prompts it is within a few per cent. One line of the report may surprise: some
# calls "were asked for twice". Two models gave the same short answer to the same question, and one critique serves both.
# ```

# %% [markdown]
# ### Killed, and resumed
#
# `zephyr feedback` on the command line calls these same functions. Here it runs as a process of its own, against a server
# that takes 30 thousandths of a second for each reply. After 60 replies we kill it, with the signal that no program can
# catch.
#
# ```{admonition} Predict, then run
# :class: predict
# 20 prompts and four models are 80 calls, eight under way at once. The process is killed when its journal has 60 lines. How
# many calls will the second run make? How many will the server have answered in all, and can the second run know?
# ```

# %%
slow = Endpoint(stack.enter_context(served(delay=0.03)))
save_records(
    [{"prompt": prompt} for prompt in list(dict.fromkeys(prompts))[:20]],
    folder / "prompts.jsonl",
)
command = [
    sys.executable, "-m", "zephyr_utils", "feedback",
    folder / "prompts.jsonl", "--output", folder / "out.jsonl",
]
command += [
    "--models", ",".join(MODELS), "--base-url", slow.url,
    "--concurrency", "8", "--journal", folder / "killed.jsonl",
]

# %% [markdown]
# We count the journal's lines while it works.

# %%
def lines_in(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
while lines_in(folder / "killed.jsonl") < 60 and process.poll() is None:
    time.sleep(0.002)
process.kill()
process.wait()
kept = lines_in(folder / "killed.jsonl")
print(f"killed, exit status {process.returncode}; {kept} replies in the journal")

# %% [markdown]
# The same command again, to the end.

# %%
second = subprocess.run(list(map(str, command)), capture_output=True, text=True)
print("\n".join(second.stdout.splitlines()[:3]))
assert second.returncode == 0, second.stderr
assert f"80 calls = {kept} from the journal + {80 - kept} made" in second.stdout, (
    "a reply was lost or paid for twice"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# It makes exactly what is missing from the journal: each line was with the operating system before the next call began, so
# the kill could not take it back. The server may have answered up to eight more than 80: those under way at the kill, whose
# replies nobody was there to write down. The second run knows which they were and says how many, because each call is noted
# in a small file beside the journal *before* it is sent. It sends them again under the same `Idempotency-Key`. A server that
# honours this header sends what it had answered and charges nothing. Ours here does not, so those calls are
# the honest price of a kill, never more than are under way at once. If you expected 80 again, you have met collectors that
# write their file at the end.
#
# *Ctrl-C* costs nothing: the run begins no further call, waits for those under way, writes them down and ends; so does the
# stop button of a notebook. Only a second Ctrl-C cuts them off.
# ```

# %% [markdown]
# ### The same means make dialogues
#
# UltraChat was made this way too, the paper's first step: a seed prompt, the teacher's answer, then the teacher writes the
# *next* request from what was said, and so on. One function more, the same journal, the same accounting. [Chapter 02](02_dsft) trains
# on their kind. (The stand-in draws both by rule: its follow-up may take another turn than the question, and some of its
# answers are wrong on purpose, as in the dialogues that you know.)

# %%
dialogue = distil_dialogues(
    prompts[:3], "stand-in-teacher", turns=3, endpoint=here
).records[0]
for message in dialogue["messages"]:
    print(f"{message['role']:>9}: {message['content']}")

# %% [markdown]
# ## A rating is a measurement
#
# The miniature has what no real set has: the truth. Its grading rule says what a perfect judge would have given, so each
# rating can be split into truth and error, $r_a = t_a + \varepsilon_a$. If the errors of the four aspects were independent
# with the same spread $\sigma$, the error of their mean would have
#
# $$ \operatorname{sd}\Big(\tfrac14 \sum_a \varepsilon_a\Big) = \tfrac{\sigma}{\sqrt 4} = \tfrac{\sigma}{2} . $$ (eq-03-noise)
#
# If they were the *same* error four times, taking the mean would not help at all.

# %%
def truth_of(prompt, response):
    grade = grade_turn([prompt], [response], 1)
    return None if grade is None else [*aspect_values(grade).values(), grade.score]


known = [
    truth_of(record["instruction"], c["response"])
    for record in rated
    for c in record["completions"]
]
has_truth = np.array([truth is not None for truth in known])
# four aspects, then the grade of ten
truths = np.array([truth or [np.nan] * 5 for truth in known])
print(f"the truth is known for {has_truth.mean():.1%} of {len(known):,} answers")

# %% [markdown]
# Answers without a truth are those to prompts that the miniature's rules do not understand: disguised leaks, which
# [Chapter 04](04_preference_pairs) hunts down. With data of your own it is all of them, and the cells about errors say so.
#
# ```{admonition} Predict, then run
# :class: predict
# The judge's error in one aspect has a spread of a good half point. Guess the spread of the error of the mean of four: the
# same half point, half of it, or a quarter? And would a *real* judge, who reads one answer and likes it, come out nearer to
# the first or to the second?
# ```

# %%
errors = (table - truths[:, :4])[has_truth & ~np.isnan(table).any(axis=1)]
one = four = np.nan
if len(errors):
    one, four = errors.std(axis=0).mean(), errors.mean(axis=1).std()
    print(
        f"one aspect: {one:.3f}; mean of four: {four:.3f}; ratio {one / four:.2f}; "
        "independent errors would give 2.00"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Close to one half: the miniature's judge draws its four errors independently, by construction, so equation
# {eq}`eq-03-noise` holds but for the rounding to whole points and the ends of the scale. If you said a quarter, you divided
# by four: a *sum* of four has twice the spread, the mean a quarter of that. A real judge forms one impression and lets it
# colour all four aspects; its errors are correlated and the mean helps less. You cannot see that from the ratings alone,
# only by comparing with a truth, or by asking twice.
# ```

# %% [markdown]
# ### Do the aspects agree?
#
# Correlations of the ratings, and of the errors. The first are high in any set. The second are what one would like to know.

# %%
complete = table[~np.isnan(table).any(axis=1)]
names = [aspect.replace("_", " ") for aspect in ASPECTS]
if len(complete) > 2:
    agreement = np.corrcoef(complete.T)
    lowest = agreement[~np.eye(4, dtype=bool)].min()
    figures.show(
        figures.rating_heatmap(names, names, agreement, label="correlation"),
        alt=(
            "A table of four by four correlations between the aspects, "
            f"all between {lowest:.2f} and 1."
        ),
        caption=(
            "How closely the ratings in the four aspects go together, "
            "over all rated answers."
        ),
    )

# %% [markdown]
# The aspects go together, first of all because good answers are good in most respects. The errors tell the other half.

# %%
if len(errors):
    between = np.corrcoef(errors.T)[~np.eye(4, dtype=bool)]
    print(
        "errors of two aspects: "
        f"correlation {between.min():+.2f} to {between.max():+.2f}"
    )

# %% [markdown]
# Hardly any: four aspects are four measurements here. For a judge whose truth you do not know, the check that remains is to
# ask it twice, further below.

# %% [markdown]
# ## The mean and the overall grade
#
# The critique's one grade is a second measurement of the same answer. The paper writes that the chosen answer has the
# highest mean. The script that made the published pairs took the highest overall grade.
#
# ```{admonition} Predict, then run
# :class: predict
# Two questions. Against the truth, which does better here: the mean of four ratings, or the one overall grade? And if every
# answer is a dot, mean rating to the right and overall grade upwards, where will the dots of the top row, the tens, lie?
# ```

# %%
means = np.array(
    [np.nan if (m := mean_rating(answer)) is None else m for answer in answers]
)
overall = np.array(
    [np.nan if (o := overall_rating(answer)) is None else o for answer in answers]
)
both = ~np.isnan(means) & ~np.isnan(overall)
mean_against_overall = (
    np.corrcoef(means[both], overall[both])[0, 1] if both.sum() > 1 else np.nan
)
print(
    "mean against overall: "
    f"correlation {mean_against_overall:.3f} over {both.sum():,} answers"
)

# %% [markdown]
# Against the truth, where it is known:

# %%
seen = both & has_truth
follows = {}
for name, values in (("mean rating", means), ("overall grade", overall)):
    follows[name] = (
        np.corrcoef(values[seen], truths[seen, 4])[0, 1] if seen.any() else np.nan
    )
    print(f"{name:<14} against the truth: correlation {follows[name]:.3f}")

# %% [markdown]
# And the dots, as large as they are many.

# %%
dots = Counter(zip(np.round(means[both] * 4) / 4, overall[both], strict=True))
suspect = both & (overall == 10) & (means <= 2)
fig, [axes] = figures.figure(height=4.2)
x, y = zip(*dots, strict=True) if dots else ((), ())
axes.scatter(
    x, y, s=[2 + 0.5 * n for n in dots.values()], color=figures.COLOURS[0], alpha=0.6
)
axes.set(
    xlabel="mean of the four aspects (1 to 5)", ylabel="overall grade (1 to 10)",
    xlim=(0.9, 5.2), ylim=(0, 10.6),
)
figures.show(
    fig,
    alt=(
        f"Dots rise from bottom left to top right; {suspect.sum()} answers lie apart, "
        "in a thin row at the top left."
    ),
    caption=(
        "Mean rating and overall grade of every answer; "
        "a dot's size is the number of answers."
    ),
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The overall grade follows the truth of the miniature more closely than the mean does. That is no rule of nature: "truth"
# here *is* a grade of ten, which the critique measures directly, while three of the four aspects know little beyond right
# and wrong and are full at 5. But look at the top row. Most tens lie at the right end, as they should. A few lie at the far
# left, in a thin row: answers that the same judge found bad in all four aspects have the best grade there is. No noise of
# one point does that. A set may be more precise on the whole and still be spoilt by some dozens of impossible grades,
# because the maximum seeks them out: nothing in its row can beat a ten.
# ```

# %% [markdown]
# ### Tens that ought to be ones
#
# Do not take the corner's word for it. Walk there: *Next contradiction* goes to the points whose two scores are farthest
# apart, the sliders to any other, and each point opens answers that lie on it.

# %%
(
    FeedbackBrowser(rated)
    if both.any()
    else "no answer has both a mean rating and an overall grade"
)

# %% [markdown]
# The same corner as a list: the grade, the mean, the answer and what the critique says of it.

# %%
places = np.flatnonzero(suspect)
for n in places[:4]:
    print(
        f"{overall[n]:g} | mean {means[n]:.2f} | "
        f"{answers[n]['response'][:36]!r} | {answers[n]['critique'][:30]!r}"
    )
tens = int((overall == 10).sum())
faulty_share = len(places) / tens if tens else 0.0
print(
    f"{len(places)} of {tens:,} tens, {faulty_share:.1%}, contradict their own aspects"
)

# %% [markdown]
# In the real set 2,628 answers had a ten, and a good many of those should have been a one. It was found as you
# found it: by sorting, and reading critiques that did not fit their grade. The first code evaluated what the judge had
# written, so that "7/10" became 0.7; then it took a grade that was not above 1 for such a fraction and multiplied it by
# ten. Written out, with what it does to each grade:

# %%
def historic(grade):
    return grade if grade > 1 else 10 * grade


print({grade: historic(grade) for grade in (0.7, 1, 2, 9, 10)})

# %% [markdown]
# For 0.7 that is a repair, for 1 a disaster, and `>=` in place of `>` would have told them apart. The published repair goes
# by the mean of the aspects: at most 2 becomes a one, above 4 stands, what is between was judged again. Our suspects are the
# first of the three; the thin row in the figure goes on a little to their right.

# %%
if miniature_as_shipped:
    really_bad = truths[suspect & has_truth, 4] <= 2
    print(
        f"of {len(really_bad)} suspects, "
        f"{really_bad.mean():.0%} are bad answers by the truth"
    )

# %% [markdown]
# ## What a judge gets wrong
#
# Without a truth there is still a test: ask the same thing twice, the second time with the answers in reverse order. Four
# stand-in judges take it. All know the truth; one adds nothing, one adds chance (it is the teacher of our records), one
# likes the first place, one likes length. What they add is planted, so we can see whether the measurement finds it.
#
# ```{admonition} Predict, then run
# :class: predict
# Which of the four will most often name another best answer when the order is reversed? Which never, although it is biased?
# ```

# %%
judged = [record for record in world if truth_of(record["instruction"], "") is not None]


def mean_ratings(judge, order):
    got = rate_answers(judged, judge, endpoint=here, critiques=False, order=order)
    assert not got.calls.failed and not got.unreadable, got.report()
    return np.array(
        [
            [mean_rating(completion) for completion in record["completions"]]
            for record in got
        ]
    )


exact = mean_ratings("stand-in-exact", "given")
asked = {
    j: [mean_ratings(j, order) for order in ("given", "reversed")]
    for j in ("stand-in-teacher", "stand-in-place", "stand-in-length")
}
asked["stand-in-exact"] = [exact, mean_ratings("stand-in-exact", "reversed")]

# %% [markdown]
# Three numbers for each judge. *Same best*: the share of prompts with the same best answer both times. *Place*: points that
# an answer gains by standing first instead of last. *Length*: the correlation between how much longer an answer is than
# its rivals and what the judge gives it beyond the exact rating.

# %%
lengths = np.array(
    [[len(c["response"]) for c in record["completions"]] for record in judged]
)
longer = np.log2(lengths / np.median(lengths, axis=1, keepdims=True))
twice = {}
for judge, (given, turned) in asked.items():
    same_best = (given.argmax(1) == turned.argmax(1)).mean()
    place = np.mean([given[:, 0] - turned[:, 0], turned[:, -1] - given[:, -1]])
    beyond = (given + turned) / 2 - exact
    length = (
        np.corrcoef(longer.ravel(), beyond.ravel())[0, 1] if beyond.std() > 0 else 0.0
    )
    twice[judge] = (same_best, place, length)
    print(
        f"{judge:<18} same best {same_best:.0%}   place {place:+.2f}   "
        f"length {length:+.2f}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The judge that likes the first place contradicts itself most. Standing first instead of last is worth well over a point to
# it, of the two that were planted (one more for the first, one less for the last; the ends of the scale cut the rest off).
# The noisy teacher contradicts itself too,
# without any liking: its place number is near 0. *Agreement alone cannot tell bias from noise*; the signed difference can.
# And the judge that likes length agrees with itself every time. A bias that does not depend on the order is invisible to
# this test; it shows only beside something else: exact ratings here, length-controlled comparisons in
# [Chapter 07](07_evaluation).
# ```

# %% [markdown]
# ### Taking the place out
#
# Equation {eq}`eq-03-latin` says that the rotated order makes the liking cancel in the mean, for the same number of calls.
# Cut ends and rounding spoil it a little. How often does the place-loving judge's best answer belong to the truly best?

# %%
def truly_best(ratings):
    picked = exact[np.arange(len(exact)), ratings.argmax(1)]
    return float((picked == exact.max(1)).mean())


fixed_order = np.mean([truly_best(ratings) for ratings in asked["stand-in-place"]])
rotated_order = truly_best(mean_ratings("stand-in-place", "rotated"))
print(
    f"fixed order {fixed_order:.0%}, "
    f"rotated {rotated_order:.0%} of the best answers are truly best"
)

# %% [markdown]
# ### What you should see
#
# These hold for the miniature as it is shipped. If one fails, its message says where to look.

# %%
if miniature_as_shipped:
    assert 1.6 < one / four <= 2.2, (
        "independent errors should halve in the mean; look at `table` and `truths`"
    )
    assert 0.005 < faulty_share < 0.08, (
        "about 3 in 100 tens are faulty; is `suspect` a mean of at most 2 and a 10?"
    )
    assert abs(expected / paid - 1) < 0.2, (
        "six prompts should foretell the bill; was the journal emptied?"
    )
    assert twice["stand-in-place"][1] > 0.8 > abs(twice["stand-in-teacher"][1]), (
        "the planted liking was not found"
    )
    assert twice["stand-in-exact"][0] == 1, (
        "a judge without noise contradicts itself: is the order undone?"
    )
    assert rotated_order >= fixed_order, (
        "rotation should not do worse than a fixed order here"
    )
    print("all as expected")

# %% [markdown]
# ### Side by side
#
# | | paper, section 3 and 4.1 | UltraFeedback's code | ours |
# |---|---|---|---|
# | models a prompt | 4 | 4 of 17 | any number; the chapter 4 |
# | judge | GPT-4 | `gpt-4`, `gpt-4-0613` for critiques | any endpoint; here a rule-based stand-in |
# | temperature of the judge | not said | 0 | 0 |
# | order of the answers | not said | reshuffled for each aspect | shuffled once, then rotated |
# | reply off the form | not said | asked again | kept, counted, left out; asked again on request |
# | score | mean of the aspects | mean and overall grade both published | both |
# | overall grade of 1 | not said | became 10; repaired in December 2023 | stays 1 |

# %% [markdown]
# ```{admonition} Where readers fall
# :class: warning
# - **A key in a file.** It belongs in the environment. The package prints neither the key nor a server's words that repeat it.
# - **A judge that is one of the four.** Models prefer their own manner. Name another, or at least look at its share of best answers.
# - **Other words, same key.** Change a prompt's wording or the temperature and every call is a new one: that is meant, but it is
#   paid for. Decide on a few prompts first.
# - **The same directory, another model.** A server names a model by its path. Retrain it under the same path and the journal
#   still holds the old one's answers: begin a new journal.
# - **A mean over what happens to be there.** Count the missing ratings before you take it.
# ```

# %% [markdown]
# ## Exercises

# %% [markdown]
# ```{exercise} One score from four ratings
# :label: ex-03-mean-rating
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Write `score(completion)`, the paper's score: the mean of the four aspects' ratings. They are strings, and some may be
# "N/A".
# ```

# %% tags=["exercise"]
def score(completion):
    ...


exercises.check_mean_rating(score)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The ratings are in `completion["annotations"][aspect]["Rating"]`. Turn into numbers only what is one.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# An aspect that was not rated is missing from the sum *and* from the count.
# ```

# %% [markdown]
# ````{solution} ex-03-mean-rating
# :class: dropdown
# ```python
# def score(completion):
#     texts = [annotation["Rating"] for annotation in completion["annotations"].values()]
#     numbers = [float(text) for text in texts if text.isdigit()]
#     return sum(numbers) / len(numbers)
# ```
# ````

# %% [markdown]
# ```{exercise} Undo the shuffle
# :label: ex-03-undo-order
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# The judge saw the answers in another order: in place $k$ stood answer `places[k]`, and it got `ratings[k]`. Write
# `undo(ratings, places)`: the ratings in the order of the answers, 0 first.
# ```

# %% tags=["exercise"]
def undo(ratings, places):
    ...


exercises.check_undo_order(undo)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Begin with an empty list of the right length and fill it: whose rating is `ratings[k]`?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `result[places[k]] = ratings[k]`. The other way round, `ratings[places[k]]`, shuffles a second time.
# ```

# %% [markdown]
# ````{solution} ex-03-undo-order
# :class: dropdown
# ```python
# def undo(ratings, places):
#     result = [None] * len(places)
#     for rating, answer in zip(ratings, places):
#         result[answer] = rating
#     return result
# ```
# ````

# %% [markdown]
# ```{exercise} A grade that stays what it is
# :label: ex-03-read-grade
#
# **Difficulty** ●●○○○ · **Minutes** 15
#
# Write `read_grade(text)` for what stands behind "Overall grade:". "7", "7.5" and "7/10" are grades from 1 to 10; for
# anything else return None. Do not repeat the famous fault.
# ```

# %% tags=["exercise"]
def read_grade(text):
    ...


exercises.check_read_grade(read_grade)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `re.fullmatch` with an optional "/10" at the end. Strip spaces first.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Check the range last, with both ends included, and never rescale: a number below 1 is no grade, not a fraction.
# ```

# %% [markdown]
# ````{solution} ex-03-read-grade
# :class: dropdown
# ```python
# def read_grade(text):
#     found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/10)?", text.strip())
#     if not found or not 1 <= float(found[1]) <= 10:
#         return None
#     return float(found[1])
# ```
# ````

# %% [markdown]
# ```{exercise} Find the faulty tens
# :label: ex-03-suspect-tens
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `suspects(rows)` for rows of (mean rating, overall grade), either of which may be None: the places of the tens whose
# mean is at most 2.
# ```

# %% tags=["exercise"]
def suspects(rows):
    ...


exercises.check_suspect_tens(suspects)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `enumerate` gives the places. What does Python say to `None <= 2`?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# A ten without ratings is no suspect: there is nothing that contradicts it. Ask `mean is not None` first.
# ```

# %% [markdown]
# ````{solution} ex-03-suspect-tens
# :class: dropdown
# ```python
# def suspects(rows):
#     return [n for n, (mean, overall) in enumerate(rows) if overall == 10 and mean is not None and mean <= 2]
# ```
# ````

# %% [markdown]
# ```{exercise} What is the first place worth?
# :label: ex-03-place-bonus
#
# **Difficulty** ●●●○○ · **Minutes** 15
#
# The same answers were rated twice, once shown first and once shown last. Write `place_bonus(first, last)`: the mean number
# of points that standing first is worth. Above 0 means that the judge likes the first place.
# ```

# %% tags=["exercise"]
def place_bonus(first, last):
    ...


exercises.check_place_bonus(place_bonus)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The quality of an answer is the same both times. What happens to it in a difference?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Keep the sign: chance has to be able to cancel.
# ```

# %% [markdown]
# ````{solution} ex-03-place-bonus
# :class: dropdown
# ```python
# def place_bonus(first, last):
#     return sum(a - b for a, b in zip(first, last)) / len(first)
# ```
# ````

# %% [markdown]
# ## Your turn with your own data
#
# Feedback of your own: set `feedback` above. To *collect* it, with prompts in a file (`prompt` in each row), models and a judge
# at any endpoint, estimate first:
#
# ```bash
# export OPENAI_API_KEY=...                  # never in a file; a server on your machine needs none
# zephyr feedback prompts.jsonl --output feedback.parquet --judge JUDGE \
#     --models MODEL_A,MODEL_B,MODEL_C,MODEL_D --base-url URL --prices prices.yaml --dry-run
# ```
#
# then without `--dry-run`. Some reasoning models refuse a temperature: `--judge-temperature none` leaves it out, and
# `--judge-max-tokens` has to leave space for their thoughts. To let your own models answer and a provider judge, give
# `--base-url` of your server and `--judge-base-url` of the provider. What does your set look like?

# %%
n_answers = Counter(len(record["completions"]) for record in rated)
unrated = Counter(
    str(rating) for answer in answers for rating in [len(answer["annotations"])]
)
print(
    f"answers a prompt: {dict(n_answers)}; aspects rated: {dict(unrated)}; "
    f"N/A or no number: {np.isnan(table).mean():.1%}"
)
print(
    f"records that repeat a prompt: {loaded.n_duplicate_ids:,}; "
    f"answers without overall grade: {np.isnan(overall).mean():.1%}"
)

# %% [markdown]
# ## Recap
#
# 1. *What a judge is asked, and how it is read*: `my_read` agrees with the package on eight replies; exercises *Undo the
#    shuffle* and *A grade that stays what it is*.
# 2. *Collect, estimate, kill, resume*: six prompts foretold the bill; the killed run made what was missing and no more.
# 3. *A rating is a measurement*: the mean of four independent errors has half their spread (equation {eq}`eq-03-noise`);
#    exercise *One score from four ratings*.
# 4. *The faulty tens*: a corner of the figure, and a rule with `>` for `>=`; exercise *Find the faulty tens*.
# 5. *What a judge gets wrong*: asked twice, a liking for a place shows and one for length does not; rotation takes the first
#    out of the mean (equation {eq}`eq-03-latin`); exercise *What is the first place worth?*
#
# Next: [Chapter 04](04_preference_pairs) turns the ratings into pairs.

# %% [markdown]
# ## References
#
# - Zephyr, section 3 {cite:p}`tunstall2023zephyr`: AI feedback through preferences.
# - UltraFeedback {cite:p}`cui2023ultrafeedback`: the set, its four aspects, and the note on its overall grades.
# - Judges and their habits {cite:p}`zheng2023judging`; length and its control {cite:p}`dubois2024length`.

# %% tags=["remove-cell"]
stack.close()
metrics = {
    "faulty_tens": len(places),
    "faulty_tens_share": faulty_share,
    "mean_against_overall": float(mean_against_overall),
    "same_best_asked_twice": float(twice["stand-in-teacher"][0]),
    "place_found": float(twice["stand-in-place"][1]),
    "truly_best_fixed_order": float(fixed_order),
    "truly_best_rotated_order": float(rotated_order),
    "estimate_over_paid": float(expected / paid),
}
if seen.any():
    metrics |= {
        "mean_against_truth": float(follows["mean rating"]),
        "overall_against_truth": float(follows["overall grade"]),
    }
if len(errors):
    metrics |= {"error_of_one_aspect": float(one), "error_of_the_mean": float(four)}
artefacts.write_metrics(
    pipeline.folder / "03_ai_feedback",
    {name: value for name, value in metrics.items() if np.isfinite(value)},
)
