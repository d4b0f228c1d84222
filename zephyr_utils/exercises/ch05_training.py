"""More checks of chapter 05: a training step of dDPO, and a reward read as a probability ratio."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from zephyr_utils.exercises.core import attempt, compare, exercise

Sums = tuple[torch.Tensor, torch.Tensor]
Step = Callable[[Sums, Sums, float, torch.optim.Optimizer], float]


def _margin(policy: Sums, reference: Sums, beta: float) -> torch.Tensor:
    return beta * ((policy[0] - reference[0]) - (policy[1] - reference[1]))


def _stepped(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _step(policy: Sums, reference: Sums, beta: float, optimizer: torch.optim.Optimizer) -> float:
    return _stepped(-F.logsigmoid(_margin(policy, reference, beta)).mean(), optimizer)


def _accumulating(policy: Sums, reference: Sums, beta: float, optimizer: torch.optim.Optimizer):
    loss = -F.logsigmoid(_margin(policy, reference, beta)).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


# What readers write instead, by the message that explains it.
_SLIPS: dict[str, Step] = {
    "The gradients of the step before are still there: zero_grad() before backward().": (
        _accumulating
    ),
    "The weights never move: backward() fills the gradients, and the optimiser's step() uses "
    "them.": lambda policy, reference, beta, optimizer: (
        -F.logsigmoid(_margin(policy, reference, beta)).mean()
    ).item(),
    "The sign is wrong: this step makes the rejected answers likelier.": (
        lambda policy, reference, beta, optimizer: _stepped(
            F.logsigmoid(_margin(policy, reference, beta)).mean(), optimizer
        )
    ),
    "Chosen and rejected are swapped: the first of each two is the chosen one.": (
        lambda policy, reference, beta, optimizer: _step(
            policy[::-1], reference[::-1], beta, optimizer
        )
    ),
    "The reference is forgotten: subtract its log-probability from the policy's.": (
        lambda policy, reference, beta, optimizer: _stepped(
            -F.logsigmoid(beta * (policy[0] - policy[1])).mean(), optimizer
        )
    ),
    "beta is missing: multiply the difference of the log-ratios by it.": (
        lambda policy, reference, beta, optimizer: _step(policy, reference, 1.0, optimizer)
    ),
    "Take the mean over the pairs, not the sum: else the step grows with the batch.": (
        lambda policy, reference, beta, optimizer: _stepped(
            -F.logsigmoid(_margin(policy, reference, beta)).sum(), optimizer
        )
    ),
    "log(sigmoid(m)) is log(0) for the pair that is very wrong, and its gradient is not a number: "
    "use F.logsigmoid(m).": lambda policy, reference, beta, optimizer: _stepped(
        -torch.sigmoid(_margin(policy, reference, beta)).log().mean(), optimizer
    ),
}
_WORDS = (
    "step before", "never move", "sign is wrong", "swapped", "reference is forgotten",
    "beta is missing", "not the sum", "F.logsigmoid",
)  # fmt: skip
_BETA, _STEPS = 0.1, 3
# Three pairs; the last is ranked so wrongly that a sigmoid of its margin is 0 in float32.
_REFERENCE = (torch.tensor([-12.0, -30.0, -15.0]), torch.tensor([-14.0, -28.0, -1600.0]))


def _trained(step: Step) -> list[float]:
    """Losses of three steps on a toy of two weights, and where the weights end."""
    weights = torch.tensor([0.5, -0.3], requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.05)
    chosen = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.5, 1.0]])
    rejected = torch.tensor([[0.5, -1.0], [1.5, 0.0], [-1.0, 0.5]])
    losses = []
    for _ in range(_STEPS):
        policy = (chosen @ weights - 13.0, rejected @ weights - 13.0)
        losses.append(float(step(policy, _REFERENCE, _BETA, optimizer)))
    # NaN equals nothing; here it has to equal another slip's NaN
    return [value if math.isfinite(value) else math.inf for value in (*losses, *weights.tolist())]


@exercise(
    "05_ddpo",
    right="This is the whole of preference optimisation: one loss, one backward pass, one step. "
    "The rest of the chapter's loop runs on it.",
    solution=_step,
    wrong={
        words: next(slip for message, slip in _SLIPS.items() if words in message)
        for words in _WORDS
    },
)
def check_ddpo_step(fn: Step) -> None:
    """``fn(policy, reference, beta, optimizer) -> loss``: takes one step; policy and reference are
    (chosen, rejected), each one log-probability per pair; the loss is that before the step.
    """

    def trained() -> object:
        first = fn(*_first_batch())
        return first if first is None or first is ... else _trained(fn)

    mistakes = {message: _trained(slip) for message, slip in _SLIPS.items()}
    compare(
        attempt(trained) if callable(fn) else attempt(fn),
        _trained(_step),
        mistakes,
        f"After {_STEPS} steps of a toy, the losses and weights differ.",
        tolerance=1e-4,
    )


def _first_batch() -> tuple[Sums, Sums, float, torch.optim.Optimizer]:
    """A batch that shows whether a stub is still a stub."""
    weights = torch.zeros(2, requires_grad=True)
    policy = (weights[:1] - 1.0, weights[1:] - 1.0)
    reference = (torch.tensor([-1.0]), torch.tensor([-1.0]))
    return policy, reference, _BETA, torch.optim.SGD([weights], lr=0.1)


def _factor(reward: float, beta: float) -> float:
    return math.exp(reward / beta)


@exercise(
    "05_ddpo",
    right="An implicit reward is beta times a log-ratio, so this is how many times as likely the "
    "answer has become.",
    solution=_factor,
    wrong={
        "divided by beta": lambda reward, beta: math.exp(reward),
        "You multiply": lambda reward, beta: math.exp(reward * beta),
        "in nats": lambda reward, beta: reward / beta,
        "upside down": lambda reward, beta: math.exp(-reward / beta),
        "sigmoid": lambda reward, beta: 1 / (1 + math.exp(-reward / beta)),
    },
)
def check_likelihood_factor(fn: Callable[[float, float], float]) -> None:
    """``fn(reward, beta) -> factor``: how many times as likely as under the reference an answer
    with this implicit reward is.
    """
    reward, beta = -0.3, 0.2
    mistakes = {
        "A reward is beta times the log-ratio: it has to be divided by beta first.": math.exp(
            reward
        ),
        "You multiply by beta; the log-ratio is the reward divided by beta.": math.exp(
            reward * beta
        ),
        "This is the log-ratio, in nats; its exponential is the factor.": reward / beta,
        "This is upside down: a reward below 0 makes an answer less likely.": math.exp(
            -reward / beta
        ),
        "A sigmoid compares two answers; here one answer is compared under two models.": 1
        / (1 + math.exp(-reward / beta)),
    }
    compare(
        attempt(fn, reward, beta), _factor(reward, beta), mistakes, "exp(reward / beta) is asked."
    )
