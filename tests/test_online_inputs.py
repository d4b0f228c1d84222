"""What people bring to ``zephyr online``: prompts in any layout are read, and what no round could
use is refused before anything is sampled, with its rows.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_command import lines
from round_fixtures import record, refused, run_of, start_directory
from typer.testing import CliRunner

from zephyr_utils import chat
from zephyr_utils.cli import app
from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import data as world
from zephyr_utils.online import pairs, rounds
from zephyr_utils.online.pairs import SamplingSettings
from zephyr_utils.online.ratings import SelfReward
from zephyr_utils.online.round_training import OnlineObjective, _batches
from zephyr_utils.online.rounds import OnlineSettings, run_rounds
from zephyr_utils.online.sampling import Sample
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import Recipe

ASKED = ["Name a river.", "Which town\u2028is oldest?", "Why is it raining?", "Who was Ada?"]
OWN_RATING = OnlineObjective("self-rewarding")
NO_TRAINING = OnlineSettings(OWN_RATING, rounds=2, sampling=SamplingSettings(samples=2))
ANSWER, SYSTEM = {"role": "assistant", "content": "Yes."}, {"role": "system", "content": "Be kind."}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return start_directory(tmp_path_factory.mktemp("start"))


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    return run_of(start, tmp_path, monkeypatch)


def user(text):
    return {"role": "user", "content": text}


@pytest.fixture
def asked_in(pipeline, monkeypatch):
    """The prompts of each round, from a file of them."""

    def of(file, settings=NO_TRAINING, **changes):
        given = []

        def one_round(pipeline, settings, folder, number, model, name, prompts, rate):
            given.append(prompts)
            return SimpleNamespace(training=SimpleNamespace(folder=model[0].parent, key="k"))

        monkeypatch.setattr(rounds, "_run_round", one_round)
        monkeypatch.setattr(rounds, "MODEL", pipeline.sft_model)
        list(run_rounds(replace(pipeline, feedback=str(file), **changes), settings))
        return given

    return of


@pytest.mark.parametrize(
    "row",
    [
        lambda q: q,
        lambda q: {"prompt": q},
        lambda q: {"instruction": q},
        lambda q: {"instruction": q, "input": "", "output": "Yes."},
        lambda q: {"messages": [user(q)]},
        lambda q: {"messages": [user(q), ANSWER]},
        lambda q: {"messages": [SYSTEM, user(q), ANSWER, user("And?"), ANSWER]},
        lambda q: {"prompt": [user(q)]},
        lambda q: {"prompt": [user(q)], "chosen": [ANSWER], "rejected": [ANSWER]},
        lambda q: {"prompt": q, "chosen": "Yes.", "rejected": "No."},
        lambda q: {"messages": json.dumps([user(q), ANSWER])},
        lambda q: {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": "Y"}]},
        lambda q: {"id": "0", "data": [q, "Yes."]},
        lambda q: {"prompt": [{"type": "text", "text": q}]},
        lambda q: record(q, 3, 4),
    ],
)
def test_prompts_are_read_in_every_layout_that_has_them(row, asked_in, tmp_path):
    shares = asked_in(lines(tmp_path / "p.jsonl", map(row, ASKED)))
    assert sorted(prompt for share in shares for prompt in share) == sorted(ASKED)
    assert [len(share) for share in shares] == [2, 2]


@pytest.mark.parametrize("name", ["p.json", "p.csv", "p.parquet", "folder"])
def test_prompts_are_read_from_every_kind_of_file(name, asked_in, tmp_path):
    path = tmp_path / name
    if name == "p.json":
        path.write_text(json.dumps(ASKED))
    elif name == "p.csv":
        rows = "".join(f'{n},"{q}"\n' for n, q in enumerate(ASKED))
        path.write_text(f"id,prompt\n{rows}", encoding="utf-8")
    elif name == "p.parquet":
        pq.write_table(pa.table({"prompt": ASKED}), path)
    else:
        path.mkdir()
        lines(path / "a.jsonl", [{"prompt": q} for q in ASKED[:2]])
        lines(path / "b.jsonl", [{"prompt": q} for q in ASKED[2:]])
    assert {prompt for share in asked_in(path) for prompt in share} == set(ASKED)


def test_what_is_left_out_of_a_row_and_what_is_set_aside_is_counted(asked_in, tmp_path, capfd):
    rows = [{"messages": [SYSTEM, user(q)]} for q in ASKED]
    file = lines(tmp_path / "p.jsonl", [*rows, rows[0], {"prompt": " "}, {"prompt": None}, {}])
    shares = asked_in(file, set_aside_bad_rows=True)
    assert sum(map(len, shares)) == 4
    said = capfd.readouterr()
    said = said.out + said.err
    assert "8 rows read = 5 records + 3 set aside" in said
    assert "1 records repeat the id of an earlier one" in said
    assert "5 of 5 prompts: its system message is not sent" in said
    assert "set aside: 1 repeated prompt" in said
    assert sum(map(len, asked_in(file, set_aside_bad_rows=True, limit=3))) == 3
    assert "3 of 5 prompts, by --limit" in "".join(capfd.readouterr())


def test_a_file_of_prompts_is_cut_at_the_scales_number_too(pipeline, tmp_path, capfd):
    file = lines(tmp_path / "p.jsonl", [{"prompt": question} for question in ASKED])
    run = replace(pipeline, feedback=str(file))
    run.__dict__["setting"] = replace(run.setting, limit=3)  # as smol's 20,000
    assert rounds._given_prompts(run) == ASKED[:3]
    assert "3 of 4 prompts, by scale miniature" in "".join(capfd.readouterr())


def test_prompts_that_the_scales_judge_cannot_rate_are_counted(asked_in, tmp_path, capfd):
    known = list(dict.fromkeys(row["instruction"] for row in world.feedback(40)))[:6]
    judged = OnlineSettings(rounds=1, sampling=SamplingSettings(samples=2))
    [share] = asked_in(lines(tmp_path / "p.jsonl", [*known, *ASKED]), judged)
    assert set(ASKED) < set(share)
    said = "".join(capfd.readouterr())
    assert f"the scale's judge cannot rate 4 of {len(share)} prompts" in said


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": ""}, "there is no prompt in it"),
        ({"prompt": "\u200b \n"}, "there is no prompt in it"),
        ({"prompt": None}, "there is no prompt in it"),
        ({"prompt": 7}, "there is no prompt in it"),
        ({"question": "Name a river."}, "there is no prompt in it"),
        ({"messages": []}, "there is no prompt in it"),
        ({"messages": [SYSTEM, ANSWER]}, "there is no prompt in it"),
        (["Name a river."], "there is no prompt in it"),
        ({"prompt": "<|user|>\nName a river.</s>\n<|assistant|>\n"}, "rendered already"),
        ({"prompt": "What is it?", "images": ["river.png"]}, "image"),
    ],
)
def test_a_row_without_a_prompt_is_refused_by_its_number(row, words, pipeline, tmp_path):
    file = lines(tmp_path / "p.jsonl", [{"prompt": "Name a river."}, row])
    message = refused(replace(pipeline, feedback=str(file)), "--method", "self-rewarding")
    assert "p.jsonl, row 2" in message and words in message, message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.jsonl", "", "there is no prompt in its 0 rows"),
        ("p.jsonl", '{"prompt": "a', "row 1"),
        ("p.jsonl", "Name a river.\n", "this is not JSON"),
        ("p.txt", "Name a river.\n", "this kind of file is not known"),
        ("p.jsonl", '{"prompt": "a"}\n' * 9, "1 prompts are too few for 3 rounds"),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n', "2 prompts are too few for 3 rounds"),
    ],
)
def test_a_file_without_enough_prompts_is_refused(name, content, words, pipeline, tmp_path):
    (tmp_path / name).write_text(content)
    given = replace(pipeline, feedback=str(tmp_path / name))
    assert words in refused(given, "--method", "self-rewarding")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompts", "1000"], "are too few for 3 rounds of 1000"),
        (["--limit", "2"], "2 prompts are too few for 3 rounds"),
        (["--samples", "2", "--temperature", "0"], "2 greedy answers to a prompt would be equal"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--top-p", "0"], "top_p is 0"),
        (["--top-p", "1.5"], "top_p is 1.5"),
        (["--method", "sppo", "--eta", "0"], "eta is 0.0"),
        (["--method", "sppo", "--eta", "nan"], "eta is nan"),
        (["--method", "selm", "--alpha", "-1"], "alpha is -1.0"),
        (["--method", "selm", "--alpha", "inf"], "alpha is inf"),
        (["--set", "ddpo.max_steps=0"], "a number above 0, or -1"),
        (["--set", "ddpo.loss_type=ipo"], "does not read loss_type"),
        (["--set", "ddpo.logging_steps=1"], "does not read logging_steps"),
        (["--set", "dsft.learning_rate=1"], "trains no dsft"),
        (["--recipe", "dsft=x.yaml"], "trains no dsft"),
        (["--chat-template", "keep"], None),
        (["--base-model", "."], "it would not be used: --sft-model is given"),
        (["--dialogues", "."], "it would not be used: --sft-model is given"),
        (["--method", "irft"], "irft's prompts are those of the dialogues"),
    ],
)
def test_what_no_round_could_use_is_refused_before_anything_is_sampled(options, words, pipeline):
    if words is None:  # a base model, whose tokenizer has no template
        folder = start_directory(base_folder(pipeline))
        pipeline, words = replace(pipeline, sft_model=str(folder)), "no chat template that could"
        tokenizer = chat.load_tokenizer(folder)
        tokenizer.chat_template = None
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        tokenizer.save_pretrained(folder)
    assert words in refused(pipeline, *options)


def base_folder(pipeline):
    folder = pipeline.folder.parent.parent / "base"
    folder.mkdir()
    return folder


def test_a_recipe_with_another_loss_is_refused_and_a_plain_one_is_not(pipeline, tmp_path):
    for text, words in (("loss_type: [ipo]\n", "loss_type is ['ipo']"),
                        ("label_smoothing: 0.1\n", "label_smoothing is 0.1")):  # fmt: skip
        (tmp_path / "r.yaml").write_text(text)
        assert words in refused(pipeline, "--recipe", tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text("loss_type: [sigmoid]\nlogging_steps: 1\n")
    assert "0 rounds" in refused(pipeline, "--recipe", tmp_path / "r.yaml", "--rounds", "0")


def test_a_method_that_there_is_not_is_refused_with_those_that_there_are():
    done = CliRunner().invoke(app, ["online", "--method", "ppo"])
    assert done.exit_code == 2 and all(f"'{method}'" in done.output for method in rounds.METHODS)


def test_an_adapter_is_refused_as_the_model_to_start_from(pipeline, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    given = replace(pipeline, sft_model=str(tmp_path / "adapter"))
    assert "a LoRA adapter alone" in refused(given)


def test_prompts_of_another_world_are_refused_before_they_are_answered(pipeline, tmp_path):
    file = lines(tmp_path / "p.jsonl", [{"prompt": q} for q in ASKED])
    message = refused(replace(pipeline, feedback=str(file)))
    assert "rates answers to none of the 4 prompts" in message
    assert all(way in message for way in ("--reward-model", "--judge", "self-rewarding"))


@pytest.mark.parametrize(
    ("system", "does"),
    [("{{ raise_exception('System role not supported') }}", "refuses"), ("", "leaves out")],
)
def test_self_rewarding_needs_a_template_with_a_place_for_what_is_asked(system, does, tmp_path):
    folder = start_directory(tmp_path)
    tokenizer = chat.load_tokenizer(folder)
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}" + system + "{% else %}"
        "{{ message['role'] + ': ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    with pytest.raises(HandbookError, match=f"{does} a system's turn"):
        SelfReward(folder).check()
    SelfReward(folder, chat_template="zephyr").check()


# --- steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        ({"num_train_epochs": 1}, [4, 4, 2]),
        ({"num_train_epochs": 2}, [4, 4, 2] * 2),
        ({"num_train_epochs": 0.5}, [4, 4]),  # as TRL: the steps are rounded up, not the epochs
        ({"num_train_epochs": 1, "max_steps": -1}, [4, 4, 2]),
        ({"num_train_epochs": 1, "max_steps": 2}, [4, 4]),
        ({"num_train_epochs": 1, "max_steps": 5}, [4, 4, 2, 4, 4]),
    ],
)
def test_a_round_makes_as_many_steps_as_trl_would(values, sizes):
    fixed = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "seed": 0}
    batches = list(_batches(10, Recipe("ddpo", fixed | values)))
    assert [len(batch) for batch in batches] == sizes
    first = [row for batch in batches for row in batch][:10]
    assert len(set(first)) == min(10, sum(sizes)), "an epoch has every pair once"


# --- the same folder with other inputs ------------------------------------------------------------


def answers(model, asked, *, samples, first_prompt, **_):
    """Answers that say what they answer, the first part of which survives a kill."""
    return [
        [Sample(f"answer {s} to {prompt}", True, 1, [2], [-0.5]) for s in range(samples)]
        for prompt in asked
    ]


@pytest.mark.parametrize("changed", ["prompts", "samples", "method", "nothing"])
def test_a_killed_round_whose_inputs_change_starts_over_with_the_new_ones(
    changed, pipeline, tmp_path, monkeypatch
):
    monkeypatch.setattr(pairs, "PART", 2)
    monkeypatch.setattr(Pipeline, "evaluate", lambda self, *_, **__: SimpleNamespace(results={}))
    trained = []

    def train_round(folder, feedback, **_):
        trained.append(load_records(feedback, "feedback").records)
        (folder / "model").mkdir()
        return {}

    monkeypatch.setattr(rounds, "train_round", train_round)
    calls = []

    def dies_in_the_second_part(*given, **options):
        calls.append(options["first_prompt"])
        if calls == [0, 2]:
            raise KeyboardInterrupt
        return answers(*given, **options)

    monkeypatch.setattr(pairs, "sample_answers", dies_in_the_second_part)
    before = OnlineSettings(OnlineObjective(), 1, SamplingSettings(samples=2), prompts=4)
    with pytest.raises(KeyboardInterrupt):
        list(run_rounds(pipeline, before))
    after = before
    if changed == "prompts":
        other = [row for row in load_records(pipeline.feedback, "feedback").records[10:]]
        lines(tmp_path / "prompts.jsonl", other)
    elif changed == "samples":
        after = replace(before, sampling=SamplingSettings(samples=3))
    elif changed == "method":
        after = replace(before, objective=OWN_RATING)
    list(run_rounds(pipeline, after))
    # what was drawn before the kill is used again only if nothing changed
    assert calls == ([0, 2, 2] if changed == "nothing" else [0, 2, 0, 2])
    [records] = trained
    for row in records:
        said = [one["response"] for one in row["completions"]]
        assert said == [
            f"answer {s} to {row['instruction']}" for s in range(after.sampling.samples)
        ]
    if changed == "prompts":
        asked = {row["instruction"] for row in records}
        assert asked <= {row["instruction"] for row in other}
