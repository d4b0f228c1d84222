"""Training logs made to order: pairs that a run learns, and what each trainer would log of them.

The losses are those of TRL 1.16, from per-pair log-ratios (policy over reference, in nats) of a run
whose rejected answers sink faster than its chosen ones.
"""

import json

import numpy as np

from zephyr_utils.diagnostics import TrafficLight, read_training_log, traffic_light

REFERENCE = (-120.0, -140.0)  # mean log-probabilities of chosen and rejected answers
TOKENS = 40
N_PAIRS = 100


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def sigmoid(x):
    return np.exp(log_sigmoid(x))


# The losses of trl.DPOTrainer by name: of chosen and rejected log-ratios and beta.
DPO_LOSSES = {
    "sigmoid": lambda c, r, b: -log_sigmoid(b * (c - r)),
    "hinge": lambda c, r, b: np.maximum(0, 1 - b * (c - r)),
    "ipo": lambda c, r, b: ((c - r) / TOKENS - 1 / (2 * b)) ** 2,
    "exo_pair": lambda c, r, b: (
        sigmoid(b * (c - r)) * (log_sigmoid(b * (c - r)) - np.log(1 - 1e-3))
        + sigmoid(-b * (c - r)) * (log_sigmoid(-b * (c - r)) - np.log(1e-3))
    ),
    "nca_pair": lambda c, r, b: (
        -log_sigmoid(b * c) - 0.5 * log_sigmoid(-b * c) - 0.5 * log_sigmoid(-b * r)
    ),
    "robust": lambda c, r, b: (
        (-0.9 * log_sigmoid(b * (c - r)) + 0.1 * log_sigmoid(-b * (c - r))) / 0.8
    ),
    "bco_pair": lambda c, r, b: -log_sigmoid(b * c) - log_sigmoid(-b * r),
    "sppo_hard": lambda c, r, b: (c - 0.5 / b) ** 2 + (r + 0.5 / b) ** 2,
    "aot": lambda c, r, b: -log_sigmoid(b * np.sort(c - r)),
    "aot_unpaired": lambda c, r, b: -log_sigmoid(b * (np.sort(c) - np.sort(r))),
    "apo_zero": lambda c, r, b: 1 - sigmoid(b * c) + sigmoid(b * r),
    "apo_down": lambda c, r, b: sigmoid(b * c) + 1 - sigmoid(b * (c - r)),
    "discopop": lambda c, r, b: (
        -log_sigmoid(b * (c - r)) * (1 - sigmoid(b * (c - r) / 0.05))
        + np.exp(-b * (c - r)) * sigmoid(b * (c - r) / 0.05)
    ),
    "sft": lambda c, r, b: -(REFERENCE[0] + c) / TOKENS,
    "sigmoid_norm": lambda c, r, b: -log_sigmoid(b * (c - r) / TOKENS),
}


def place(i, n):
    """Step and epoch of the i-th of n logged moments; the first is the first step."""
    return {"epoch": round(i / n, 4), "step": max(1, 10 * i)}


def metrics(loss, chosen, rejected, logps, *, accuracies=True):
    """The columns of a preference trainer from per-pair rewards and mean log-probabilities."""
    row = {
        "loss": float(np.mean(loss)),
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/accuracies": float((chosen > rejected).mean()),
        "rewards/margins": float((chosen - rejected).mean()),
        "logps/chosen": float(logps[0]),
        "logps/rejected": float(logps[1]),
        "logits/chosen": -2.1,
        "logits/rejected": -2.0,
    }
    return row if accuracies else {k: v for k, v in row.items() if k != "rewards/accuracies"}


def log_ratios(share, rng, fall=(-2.0, -12.0), spread=5.0):
    """Log-ratios of N_PAIRS pairs when ``share`` of the run is done, chosen and rejected."""
    noise = rng.normal(size=(2, N_PAIRS))
    return [share * (mean + spread * z) for mean, z in zip(fall, noise, strict=True)]


def history(moments, learning_rate=1e-5):
    """A trainer's log history from (training, evaluation) metrics at equally spaced moments."""
    rows, n = [], len(moments) - 1
    for i, (training, evaluation) in enumerate(moments):
        timing = {"eval_runtime": 3.2, "eval_samples_per_second": 31.0}
        extra = {"grad_norm": 12.0, "learning_rate": learning_rate * (1 - i / (n + 1))}
        if i == 0 and evaluation:  # eval_on_start
            first = {f"eval_{k}": v for k, v in evaluation.items()} | timing
            rows.append({**first, "epoch": 0.0, "step": 0})
        rows.append({**training, **extra, **place(i, n)})
        if i > 0 and evaluation:
            later = {f"eval_{k}": v for k, v in evaluation.items()} | timing
            rows.append({**later, **place(i, n)})
    end = {"train_runtime": 61.0, "train_loss": 0.5, "total_flos": 1e15}
    return [*rows, {**end, **place(n, n)}]


def dpo(loss="sigmoid", beta=0.1, n=10, **ratios):
    """The history of a DPO run that learns."""
    moments = []
    for i in range(n + 1):
        both = []
        for seed in (i + 1, 0):  # other pairs in every training row, the same in every evaluation
            c, r = log_ratios(i / n, np.random.default_rng(seed), **ratios)
            shift = np.random.default_rng(seed).normal(0, 10 if seed else 0)
            logps = REFERENCE[0] + shift + c.mean(), REFERENCE[1] + shift + r.mean()
            both.append(metrics(DPO_LOSSES[loss](c, r, beta), beta * c, beta * r, logps))
        moments.append(tuple(both))
    return history(moments)


def kto(beta=0.1, n=10):
    """The history of trl.KTOTrainer: unpaired answers, so no accuracy, and a column kl."""
    moments = []
    for i in range(n + 1):
        c, r = log_ratios(i / n, np.random.default_rng(0))
        loss = np.concatenate([1 - sigmoid(beta * c), 1 - sigmoid(-beta * r)])
        logps = REFERENCE[0] + c.mean(), REFERENCE[1] + r.mean()
        row = metrics(loss, beta * c, beta * r, logps, accuracies=False) | {"kl": 0.05 * i}
        moments.append((row, row))
    return history(moments)


def bco(beta=0.1, n=10):
    """The history of TRL's former BCOTrainer: unpaired as KTO, with a running mean delta."""
    rows = kto(beta, n)
    return [
        {k.replace("kl", "delta"): v for k, v in row.items()} if "step" in row else row
        for row in rows
    ]


def reference_free(beta=2.0, n=10, extra=None, summed=False):
    """The history of ORPO, CPO, SimPO or TPO: rewards are beta times the log-probability."""
    moments = []
    for i in range(n + 1):
        both = []
        for seed in (i + 1, 0):
            rng = np.random.default_rng(seed)
            scale = TOKENS if summed else 1.0
            c = scale * (-1.1 + 0.2 * i / n + 0.2 * rng.normal(size=N_PAIRS))
            r = scale * (-1.2 - 0.3 * i / n + 0.2 * rng.normal(size=N_PAIRS))
            loss = -log_sigmoid(beta * (c - r))
            row = metrics(loss, beta * c, beta * r, (c.mean(), r.mean()))
            both.append(row | {"nll_loss": 1.0 - 0.02 * i} | (extra or {}))
        moments.append(tuple(both))
    return history(moments)


ORPO_COLUMNS = {"log_odds_ratio": -0.6, "log_odds_chosen": 0.3}


def online_dpo(n=10):
    """The history of trl's OnlineDPOTrainer: pairs from its own samples, no evaluation."""
    own = {"objective/kl": 1.0, "objective/scores": 0.4, "beta": 0.1, "val/contain_eos_token": 0.9}
    rows = dpo(n=n)
    return [row | own for row in rows if "loss" in row and "eval_loss" not in row]


def without_evaluations(rows):
    """The rows of a history that are not evaluations."""
    return [row for row in rows if not any(name.startswith("eval_") for name in row)]


def evaluations(rows):
    """The evaluation rows of a history, to be changed in place."""
    return [row for row in rows if "eval_loss" in row]


def training_rows(rows):
    """The training rows of a history, to be changed in place."""
    return [row for row in rows if "loss" in row]


def light(rows, **keywords) -> TrafficLight:
    """The traffic light of a history."""
    return traffic_light(read_training_log(rows), **keywords)


def says(verdict, colour, phrase):
    """Whether a verdict has a reason of this colour with these words."""
    return any(r.colour == colour and phrase in r.text for r in verdict.reasons)


def without(rows, *words):
    """Take out of every row the columns with one of these words in their names, in place."""
    for row in rows:
        for name in [name for name in row if any(word in name for word in words)]:
            del row[name]


def slashed(rows):
    """Rows as the callbacks of Weights & Biases and TensorBoard rename them."""
    made = []
    for row in rows:
        new = {}
        for name, value in row.items():
            if name == "step":
                new["train/global_step"] = value
            elif name.startswith("eval_"):
                new["eval/" + name.removeprefix("eval_")] = value
            else:
                new["train/" + name] = value
        made.append(new)
    return made


def as_table(rows, delimiter=",", empty=""):
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [delimiter.join(names)]
    lines += [delimiter.join(str(row.get(name, empty)) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
