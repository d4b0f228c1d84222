"""Reward models: trained, saved, loaded, held against TRL's, and used to choose the best of n."""

import itertools
import json
import math
import shutil

import numpy as np
import pytest
import torch
from test_objectives import ON_CPU
from tiny import save_base

from zephyr_utils import chat, objectives, rewards
from zephyr_utils.errors import HandbookError
from zephyr_utils.rewards.model import batch_rewards, reward_rows

WORDS = ["Paris", "nine", "seven", "France", "capital"]


def pair(n: int, chosen: str, rejected: str, gap: float | None = 3.0) -> dict:
    asked = [{"role": "user", "content": f"Question {n}?"}]
    scores = {} if gap is None else {"score_chosen": 5.0 + gap, "score_rejected": 5.0}
    return {
        "prompt": f"Question {n}?",
        "prompt_id": str(n),
        "chosen": [*asked, {"role": "assistant", "content": chosen}],
        "rejected": [*asked, {"role": "assistant", "content": rejected}],
        **scores,
    }


# the chosen answer ends in a friendly word: something that a tiny model can learn
PAIRS = [
    pair(n, f"{word} it is. Happy to help!", f"{word} it is.", gap=1.0 + n % 3)
    for n, word in enumerate(WORDS * 8)
]
QUICK = {"learning_rate": 1e-2, "epochs": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The directory of a tiny language model."""
    folder = tmp_path_factory.mktemp("start")
    save_base(folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return rewards.train_reward_model(start, PAIRS, folder, rewards.RewardRecipe(**QUICK)), folder


def conversations(pairs, side="chosen"):
    return [row[side] for row in pairs]


# --- the model ------------------------------------------------------------------------------------


def test_a_new_head_scores_every_answer_zero(start):
    model, tokenizer = rewards.load_reward_model(start, new_head=True)
    assert rewards.score_answers(model, tokenizer, conversations(PAIRS[:3])).tolist() == [0.0] * 3


def test_a_language_model_is_not_a_reward_model(start):
    with pytest.raises(HandbookError, match="no reward head, and one made at random"):
        rewards.load_reward_model(start)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(HandbookError, match=r"no config\.json"):
        rewards.load_reward_model(tmp_path)


def test_a_folder_whose_weights_are_pickled_is_refused_by_its_files(start, tmp_path):
    folder = shutil.copytree(start, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(HandbookError, match="its weights are pickled"):
        rewards.load_reward_model(folder, new_head=True)


def test_rewards_do_not_depend_on_the_batch_or_the_order(trained):
    model, tokenizer = trained[0].model, trained[0].tokenizer
    asked = conversations(PAIRS[:5]) + conversations(PAIRS[:4], "rejected")
    whole = rewards.score_answers(model, tokenizer, asked)
    assert np.ptp(whole) > 0.1
    single = rewards.score_answers(model, tokenizer, asked, batch_size=1)
    backwards = rewards.score_answers(model, tokenizer, asked[::-1], batch_size=4)[::-1]
    np.testing.assert_allclose(single, whole, atol=1e-5)
    np.testing.assert_allclose(backwards, whole, atol=1e-5)


def test_a_reward_is_the_head_on_the_last_state_of_the_whole_conversation(trained):
    model, tokenizer = trained[0].model, trained[0].tokenizer
    ids, _ = chat.encode(tokenizer, PAIRS[0]["chosen"])
    with torch.no_grad():
        state = model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        by_hand = float(model.score.weight[0] @ state)
    batched = rewards.score_answers(model, tokenizer, conversations(PAIRS[:6]))
    assert batched[0] == pytest.approx(by_hand, abs=1e-5)


def test_a_conversation_without_an_answer_or_beyond_the_context_is_refused(trained):
    model, tokenizer = trained[0].model, trained[0].tokenizer
    with pytest.raises(HandbookError, match=r"conversation 1: it must end with an answer"):
        rewards.score_answers(model, tokenizer, [PAIRS[0]["chosen"], PAIRS[1]["chosen"][:1]])
    long = pair(0, "Paris " * 300, "no")
    with pytest.raises(HandbookError, match="exceed the model's context of 256"):
        rewards.score_answers(model, tokenizer, [long["chosen"]])


def test_a_reward_that_is_not_a_number_is_counted_and_refused(start):
    model, tokenizer = rewards.load_reward_model(start, new_head=True)
    torch.nn.init.constant_(model.score.weight, math.nan)
    with pytest.raises(HandbookError, match="2 of 2 rewards are NaN"):
        rewards.score_answers(model, tokenizer, conversations(PAIRS[:2]))


# --- training -------------------------------------------------------------------------------------


def test_training_begins_at_ln_2_and_ranks_pairs_it_has_not_seen(trained):
    log = trained[0].log
    assert log[0]["loss"] == pytest.approx(math.log(2)) and log[0]["accuracy"] == 0
    assert len(log) == 4 * len(PAIRS) // 8 and [row["step"] for row in log[:2]] == [1, 2]
    words = ["Ten", "two", "help", "Anything", "else"]
    unseen = [pair(n, f"{w} it is. Happy to help!", f"{w} it is.") for n, w in enumerate(words)]
    scores = rewards.score_pairs(trained[0].model, trained[0].tokenizer, unseen)
    assert scores.accuracy.estimate == 1 and scores.n_ties == 0
    assert scores.accuracy.low == pytest.approx(0.5655, abs=1e-3)  # Wilson's, of 5 of 5
    assert (scores.chosen - scores.rejected).mean() > 1


def test_equal_rewards_count_as_wrong_and_are_counted(start):
    model, tokenizer = rewards.load_reward_model(start, new_head=True)
    scores = rewards.score_pairs(model, tokenizer, PAIRS[:4])
    assert scores.accuracy.estimate == 0 and scores.n_ties == 4


def test_the_saved_model_scores_as_the_trained_one_and_holds_no_pickle(trained):
    training, folder = trained
    model, tokenizer = rewards.load_reward_model(folder / "model")
    asked = conversations(PAIRS[:6])
    np.testing.assert_allclose(
        rewards.score_answers(model, tokenizer, asked),
        rewards.score_answers(training.model, training.tokenizer, asked),
        atol=1e-6,
    )
    names = {path.name for path in (folder / "model").iterdir()}
    assert "model.safetensors" in names and not [n for n in names if n.endswith((".bin", ".pt"))]
    assert json.loads((folder / "log.json").read_text()) == training.log


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone(start, tmp_path):
    recipe = rewards.RewardRecipe(batch_size=8, seed=3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (
        rewards.train_reward_model(start, PAIRS[:16], tmp_path / name, recipe) for name in "ab"
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.log == second.log
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("objective", ["margin", "scaled", "rating"])
def test_every_objective_learns_without_an_adapter_too(start, tmp_path, objective):
    recipe = rewards.RewardRecipe(objective=objective, lora_rank=None, **QUICK)
    training = rewards.train_reward_model(start, PAIRS, tmp_path, recipe)
    assert training.log[-1]["loss"] < 0.7 * training.log[0]["loss"]
    scores = rewards.score_pairs(training.model, training.tokenizer, PAIRS)
    assert scores.accuracy.estimate > 0.9
    assert (training.cuts is None) == (objective == "rating")


def test_the_first_losses_are_those_of_the_objectives_at_equal_rewards(start, tmp_path):
    def first(objective):
        recipe = rewards.RewardRecipe(objective=objective, batch_size=len(PAIRS), learning_rate=0.0)
        return rewards.train_reward_model(start, PAIRS, tmp_path / objective, recipe).log[0]["loss"]

    shares = [sum(n % 3 == k for n in range(len(PAIRS))) / len(PAIRS) for k in range(3)]
    margin = sum(
        share * math.log1p(math.exp(k)) for k, share in zip((1, 2, 3), shares, strict=True)
    )
    assert first("margin") == pytest.approx(margin, rel=1e-5)
    assert first("scaled") == pytest.approx(math.log(2), rel=1e-5)  # weights have mean 1
    assert first("rating") == pytest.approx(1.0, rel=1e-5)  # the variance of standardised ratings


def test_training_goes_on_from_a_reward_model_with_its_head(trained, tmp_path):
    training, folder = trained
    recipe = rewards.RewardRecipe(objective="scaled", batch_size=8, learning_rate=0.0)
    further = rewards.train_reward_model(folder / "model", PAIRS[:8], tmp_path, recipe)
    assert torch.equal(further.model.score.weight, training.model.score.weight)
    assert further.log[0]["loss"] < 0.5 * math.log(2)


def test_pairs_that_cannot_be_trained_on_are_refused(start, tmp_path):
    def train(pairs, **changes):
        rewards.train_reward_model(start, pairs, tmp_path, rewards.RewardRecipe(**changes))

    with pytest.raises(HandbookError, match="there are no pairs"):
        train([])
    unscored = [*PAIRS[:2], pair(9, "a", "b", gap=None)]
    with pytest.raises(HandbookError, match="1 of 3 pairs have no scores, the first is pair 2"):
        train(unscored, objective="scaled")
    train(unscored)  # the regular loss asks for none
    with pytest.raises(HandbookError, match="all ratings are equal"):
        train([pair(n, "a", "b", gap=0.0) for n in range(3)], objective="rating")
    with pytest.raises(HandbookError, match="NaN or infinite after 1 steps"):
        train(PAIRS[:16], learning_rate=math.inf, batch_size=4)


def test_strengths_divide_pairs_into_thirds_by_their_score_gap():
    pairs = [pair(n, "a", "b", gap=float(gap)) for n, gap in enumerate([1, 2, 3, 4, 5, 6])]
    cuts = rewards.strength_cuts(pairs)
    assert rewards.preference_strengths(pairs, cuts).tolist() == [1, 1, 2, 2, 3, 3]
    other = [pair(0, "a", "b", gap=0.5), pair(1, "a", "b", gap=50.0)]
    assert rewards.preference_strengths(other, cuts).tolist() == [1, 3]


# --- against TRL ----------------------------------------------------------------------------------


def test_our_rewards_and_loss_equal_trls_on_its_own_batch(trained, tmp_path):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    training, folder = trained
    model, tokenizer = rewards.load_reward_model(folder / "model")
    rows = [{side: row[side] for side in ("chosen", "rejected")} for row in PAIRS[:8]]
    trainer = RewardTrainer(
        model,
        args=RewardConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            disable_dropout=True,
            **ON_CPU,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = dict(next(iter(trainer.get_train_dataloader())))
    texts = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    trainer.model.eval()
    with torch.no_grad():
        theirs, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
        ours = batch_rewards(training.model, texts)
    assert sorted(texts) == sorted(
        reward_rows(model, tokenizer, [row[s] for s in ("chosen", "rejected") for row in rows])
    )
    torch.testing.assert_close(ours, outputs.logits[:, 0], atol=1e-5, rtol=0)
    loss = objectives.bradley_terry_loss(*ours.chunk(2))
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)


# --- best of n ------------------------------------------------------------------------------------


def test_the_best_of_n_is_the_first_of_the_highest():
    assert rewards.best_of_n([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]]).tolist() == [1, 0]


def curve_by_enumeration(scores, grades, n):
    """The definition: over all subsets of n, the mean grade of those with the highest score."""
    means = []
    for subset in itertools.combinations(range(len(scores)), n):
        best = max(scores[i] for i in subset)
        means.append(np.mean([grades[i] for i in subset if scores[i] == best]))
    return np.mean(means)


def test_the_curve_is_the_mean_over_all_subsets():
    generator = np.random.default_rng(0)
    scores, grades = generator.random((3, 6)), generator.random((3, 6))
    curve = rewards.best_of_n_curve(scores, grades)
    for prompt, n in itertools.product(range(3), range(1, 7)):
        expected = curve_by_enumeration(scores[prompt], grades[prompt], n)
        assert curve[prompt, n - 1] == pytest.approx(expected)
    np.testing.assert_allclose(curve[:, 0], grades.mean(axis=1))
    chosen = rewards.best_of_n(scores)
    np.testing.assert_allclose(curve[:, -1], grades[np.arange(3), chosen])


def test_equal_scores_share_their_places_in_the_curve():
    scores, grades = [[1.0, 1.0, 1.0, 1.0]], [[1.0, 2.0, 3.0, 6.0]]
    np.testing.assert_allclose(rewards.best_of_n_curve(scores, grades), [[3.0, 3.0, 3.0, 3.0]])


def test_a_chooser_that_is_right_gains_with_n_and_one_that_is_wrong_loses():
    grades = np.random.default_rng(0).random((20, 8))
    right, wrong = (rewards.best_of_n_curve(sign * grades, grades).mean(axis=0) for sign in (1, -1))
    assert (np.diff(right) > 0).all() and (np.diff(wrong) < 0).all()


@pytest.mark.parametrize(
    ("scores", "grades", "message"),
    [
        ([[1.0, 2.0]], [[1.0]], r"scores of shape \(1, 2\) and grades of \(1, 1\)"),
        ([[1.0, math.nan]], [[1.0, 2.0]], "1 of 2 scores are NaN"),
        ([[1.0, 2.0]], [[1.0, math.inf]], "1 of 2 grades are NaN or infinite"),
        ([1.0, 2.0], [1.0, 2.0], r"scores of shape \(2,\)"),
        (np.empty((0, 3)), np.empty((0, 3)), r"scores of shape \(0, 3\)"),
    ],
)
def test_the_curve_refuses_what_cannot_be_compared(scores, grades, message):
    with pytest.raises(HandbookError, match=message):
        rewards.best_of_n_curve(scores, grades)


def test_best_of_ns_divergence_is_that_of_a_continuous_chooser():
    """KL of the density n u^(n-1) of the highest of n uniform numbers from the uniform one."""
    for n in (1, 2, 16):
        u = (np.arange(200_000) + 0.5) / 200_000
        density = n * u ** (n - 1)
        assert rewards.best_of_n_kl(n) == pytest.approx(
            np.mean(density * np.log(density)), abs=1e-3
        )
    with pytest.raises(HandbookError, match="n is 0"):
        rewards.best_of_n_kl(0)
