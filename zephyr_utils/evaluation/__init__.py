"""Evaluation as in the paper: MT-Bench and AlpacaEval from raw records, judges, academic tasks, and
intervals.
"""

from zephyr_utils.evaluation.academic import (
    ACADEMIC_TASKS,
    AcademicTask,
    TaskScore,
    academic_scores,
    lm_eval_command,
    read_lm_eval_results,
)
from zephyr_utils.evaluation.alpaca_eval import (
    WinRate,
    alpaca_eval_win_rate,
    shared_annotations,
    win_rate_difference,
)
from zephyr_utils.evaluation.common import EvaluationError, EvaluationWarning, load_rows
from zephyr_utils.evaluation.endpoint_judge import OpenAIJudge
from zephyr_utils.evaluation.grading import grade_answers
from zephyr_utils.evaluation.intervals import (
    Interval,
    IntervalError,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
    seeds_interval,
    wilson_interval,
)
from zephyr_utils.evaluation.judges import Judge, Judgment, PairwiseJudgment, RecordedJudge
from zephyr_utils.evaluation.judgments import CATEGORIES, FASTCHAT_TEMPERATURES, public_category
from zephyr_utils.evaluation.length_control import (
    LengthControlledRate,
    length_controlled_win_rate,
    win_rate_by_length,
)
from zephyr_utils.evaluation.mt_bench import MTBenchScore, mt_bench_score
from zephyr_utils.evaluation.mt_bench_table import (
    mt_bench_difference,
    mt_bench_table,
    wrong_model_judgments,
)
from zephyr_utils.evaluation.pairs import PairScore, as_annotations, judge_pairs, pair_score
from zephyr_utils.evaluation.recorded import annotation_files, read_annotations, read_judgments
from zephyr_utils.evaluation.report import Report
from zephyr_utils.evaluation.verdicts import parse_rating, parse_verdict

__all__ = [
    "ACADEMIC_TASKS",
    "CATEGORIES",
    "FASTCHAT_TEMPERATURES",
    "AcademicTask",
    "EvaluationError",
    "EvaluationWarning",
    "Interval",
    "IntervalError",
    "Judge",
    "Judgment",
    "LengthControlledRate",
    "MTBenchScore",
    "OpenAIJudge",
    "PairScore",
    "PairedDifference",
    "PairwiseJudgment",
    "RecordedJudge",
    "Report",
    "TaskScore",
    "WinRate",
    "academic_scores",
    "alpaca_eval_win_rate",
    "annotation_files",
    "as_annotations",
    "bootstrap_interval",
    "grade_answers",
    "judge_pairs",
    "length_controlled_win_rate",
    "lm_eval_command",
    "load_rows",
    "mt_bench_difference",
    "mt_bench_score",
    "mt_bench_table",
    "pair_score",
    "paired_difference",
    "parse_rating",
    "parse_verdict",
    "public_category",
    "read_annotations",
    "read_judgments",
    "read_lm_eval_results",
    "seeds_interval",
    "shared_annotations",
    "wilson_interval",
    "win_rate_by_length",
    "win_rate_difference",
    "wrong_model_judgments",
]
