"""lm-eval: the command, the reader of its results, and one local task of our own, run offline."""

import json
import os
import subprocess

import pytest
import torch

from zephyr_utils.evaluation import EvaluationError, lm_eval_command, read_lm_eval_results

RESULTS = {
    "results": {
        "arc_challenge": {
            "alias": "arc",
            "acc,none": 0.5,
            "acc_stderr,none": 0.01,
            "acc_norm,none": 0.62,
            "acc_norm_stderr,none": 0.014,
        },
        "mmlu": {"acc,none": 0.61, "acc_stderr,none": "N/A"},
    },
    "n-shot": {"arc_challenge": 25},
}


def written(folder, content, name="results_2024.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_results_are_read_in_percent_with_their_errors(tmp_path):
    path = written(tmp_path, RESULTS)
    found = {(score.task, score.metric): score for score in read_lm_eval_results(path)}
    assert found["arc_challenge", "acc_norm"].score == pytest.approx(62)
    assert found["arc_challenge", "acc_norm"].standard_error == pytest.approx(1.4)
    assert found["arc_challenge", "acc"].shots == 25
    assert (found["mmlu", "acc"].standard_error, found["mmlu", "acc"].shots) == (None, None)


def test_results_that_say_nothing_of_shots_are_read(tmp_path):
    path = written(tmp_path, {"results": {"mmlu": {"acc,none": 0.25}}, "n-shot": None})
    (score,) = read_lm_eval_results(path)
    assert (score.score, score.shots) == (25, None)


def test_the_newest_results_of_a_folder_are_read(tmp_path):
    old = written(tmp_path, RESULTS, "model/results_1.json")
    newer = {"results": {"arc_challenge": {"acc,none": 0.25}}}
    written(tmp_path, newer, "model/results_2.json")
    os.utime(old, (1, 1))
    assert [score.score for score in read_lm_eval_results(tmp_path)] == [25]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a results file"),
        ('{"results": {"mmlu"', "is not a results file"),
        ("[1]", "is not a results file"),
        ({"config": {}}, "is not a results file"),
        ({"results": {"mmlu": 5}}, "is not a results file"),
        ({"results": [1]}, "is not a results file"),
        ({"results": {"mmlu": {"acc,none": 0.5}}, "n-shot": 5}, "is not a results file"),
        ({"results": {"mmlu": {"acc,none": float("nan")}}}, "acc of mmlu is nan"),
        ({"results": {"other": {"acc,none": 0.5}}}, "has no results for mmlu"),
    ],
)
def test_files_without_the_wanted_figure_are_errors(tmp_path, content, message):
    with pytest.raises(EvaluationError, match=message):
        read_lm_eval_results(written(tmp_path, content), tasks=["mmlu"])


def test_a_missing_file_and_an_empty_folder_are_errors(tmp_path):
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_lm_eval_results(tmp_path / "absent.json")
    with pytest.raises(EvaluationError, match=r"no results\*.json"):
        read_lm_eval_results(tmp_path)


def test_the_command_names_model_task_and_folder_and_refuses_a_path_it_would_cut(tmp_path):
    command = lm_eval_command("models/ours", "arc_challenge", 25, output=tmp_path, limit=10)
    assert command[1:4] == ["-m", "lm_eval", "run"]
    assert (
        "pretrained=models/ours" in command and command[command.index("--num_fewshot") + 1] == "25"
    )
    assert command[command.index("--limit") + 1] == "10"
    assert not any("trust_remote_code" in part for part in command)
    with pytest.raises(EvaluationError, match="comma"):
        lm_eval_command("models/a,b", "mmlu", output=tmp_path)


QUESTIONS = [
    {"question": "What does a cat say ?", "choices": ["meow", "moo", "woof"], "answer": 0},
    {"question": "What does a cow say ?", "choices": ["meow", "moo", "woof"], "answer": 1},
    {"question": "What does a dog say ?", "choices": ["meow", "moo", "woof"], "answer": 2},
    {"question": "What does a dog eat ?", "choices": ["grass", "meat", "milk"], "answer": 1},
    {"question": "What does a cow eat ?", "choices": ["grass", "meat", "milk"], "answer": 0},
]
TASK = """task: local_choices
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


def tiny_model(folder):
    """A random Llama of a few thousand parameters over whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = sorted(
        {
            word
            for q in QUESTIONS
            for text in (q["question"], *q["choices"])
            for word in text.split()
        }
    )
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<end>", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<end>", pad_token="<end>"
    )
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    # A wide initialisation, so that the options' probabilities are well apart.
    config = LlamaConfig(
        vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=1.0, **sizes
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.slow
def test_a_local_task_run_offline_gives_the_accuracy_computed_by_hand(tmp_path):
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra and is not installed")
    model, tokenizer = tiny_model(tmp_path / "model")
    right = 0
    for question in QUESTIONS:
        scores = []
        for choice in question["choices"]:
            ids = torch.tensor([tokenizer(f"{question['question']} {choice}")["input_ids"]])
            with torch.no_grad():
                scores.append(model(ids).logits[0, -2].log_softmax(-1)[ids[0, -1]].item())
        right += max(range(3), key=scores.__getitem__) == question["answer"]
    data = tmp_path / "questions.jsonl"
    data.write_text("\n".join(json.dumps(question) for question in QUESTIONS), encoding="utf-8")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "local_choices.yaml").write_text(TASK.format(data=data), encoding="utf-8")
    command = lm_eval_command(
        tmp_path / "model", "local_choices", output=tmp_path / "out", task_folder=tasks
    )
    offline = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (score,) = read_lm_eval_results(tmp_path / "out", tasks=["local_choices"])
    assert score.score == pytest.approx(100 * right / len(QUESTIONS))
    assert score.standard_error is not None
