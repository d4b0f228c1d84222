"""The checks behind the exercises: ``exercises.check_dpo_loss(my_dpo_loss)`` prints what is right
or wrong and why.

Each check is registered with a solution and with known wrong answers; the words that name a wrong
answer must occur in the message it gets. One module per chapter (``ch00`` to ``ch13``); ``core``
holds what they share. ``exercises.yours(answer, check)`` gives back the reader's function where it
is right, else the reference solution, so that the chapter can go on with either.
"""

from zephyr_utils.exercises.ch00 import (
    check_changed_grades,
    check_preference_probability,
    check_row_loss,
    check_steps,
    check_text_loss,
)
from zephyr_utils.exercises.ch01 import (
    check_capitalised_fault,
    check_edit_scores,
    check_order_counts,
    check_sentence_starts,
)
from zephyr_utils.exercises.ch01_counts import check_fit_truecaser
from zephyr_utils.exercises.ch02 import (
    check_combine_batches,
    check_lora_count,
    check_merge,
)
from zephyr_utils.exercises.ch02_training import (
    check_collate,
    check_log_loss,
    check_packed_positions,
)
from zephyr_utils.exercises.ch03 import (
    check_mean_rating,
    check_place_bonus,
    check_read_grade,
    check_suspect_tens,
    check_undo_order,
)
from zephyr_utils.exercises.ch03_replies import check_missing_calls, check_read_reply
from zephyr_utils.exercises.ch04 import (
    check_choose_pair,
    check_faulty_ten,
    check_leak,
    check_length_bias,
)
from zephyr_utils.exercises.ch04_pairs import check_binarise, check_expected_gap
from zephyr_utils.exercises.ch05 import (
    check_answer_log_prob,
    check_dpo_loss,
    check_first_step,
    check_optimal_policy,
)
from zephyr_utils.exercises.ch05_training import check_ddpo_step, check_likelihood_factor
from zephyr_utils.exercises.ch06 import (
    check_diagnosis,
    check_implied_beta,
    check_measured_on,
    check_pairs_needed,
)
from zephyr_utils.exercises.ch06_margins import check_displaced_share, check_rewards_and_accuracy
from zephyr_utils.exercises.ch07 import (
    check_both_orders,
    check_change_parts,
    check_paired_error,
    check_questions_needed,
    check_win_rate,
)
from zephyr_utils.exercises.ch07_doubts import check_doubts
from zephyr_utils.exercises.ch08 import (
    check_errors_apart,
    check_holm,
    check_search_choice,
    check_seed_difference,
    check_verdict,
)
from zephyr_utils.exercises.ch09 import (
    check_accumulation,
    check_hours_range,
    check_lora_bytes,
    check_operations_per_token,
    check_packed_steps,
)
from zephyr_utils.exercises.ch09_packing import check_pack
from zephyr_utils.exercises.ch10 import (
    check_expected_best,
    check_gae,
    check_leave_one_out,
    check_scaled_loss,
)
from zephyr_utils.exercises.ch10_comparisons import check_reward_gradient, check_value_at_kl
from zephyr_utils.exercises.ch11 import (
    check_judge_optimism,
    check_round_pair,
    check_self_play,
    check_win_rates,
)
from zephyr_utils.exercises.ch11_own_answers import check_ahead, check_whose_answers
from zephyr_utils.exercises.ch12 import (
    check_demonstration_pairs,
    check_extrapolated,
    check_fit_weights,
    check_flow_pair,
    check_token_kl,
)
from zephyr_utils.exercises.ch12_strength import check_helped, check_pulls
from zephyr_utils.exercises.ch13 import (
    check_beside_healthy,
    check_find_fault,
    check_nats_at_start,
)
from zephyr_utils.exercises.core import WrongAnswer, yours

__all__ = [
    "WrongAnswer",
    "check_accumulation",
    "check_ahead",
    "check_answer_log_prob",
    "check_beside_healthy",
    "check_binarise",
    "check_both_orders",
    "check_capitalised_fault",
    "check_change_parts",
    "check_changed_grades",
    "check_choose_pair",
    "check_collate",
    "check_combine_batches",
    "check_ddpo_step",
    "check_demonstration_pairs",
    "check_diagnosis",
    "check_displaced_share",
    "check_doubts",
    "check_dpo_loss",
    "check_edit_scores",
    "check_errors_apart",
    "check_expected_best",
    "check_expected_gap",
    "check_extrapolated",
    "check_faulty_ten",
    "check_find_fault",
    "check_first_step",
    "check_fit_truecaser",
    "check_fit_weights",
    "check_flow_pair",
    "check_gae",
    "check_helped",
    "check_holm",
    "check_hours_range",
    "check_implied_beta",
    "check_judge_optimism",
    "check_leak",
    "check_leave_one_out",
    "check_length_bias",
    "check_likelihood_factor",
    "check_log_loss",
    "check_lora_bytes",
    "check_lora_count",
    "check_mean_rating",
    "check_measured_on",
    "check_merge",
    "check_missing_calls",
    "check_nats_at_start",
    "check_operations_per_token",
    "check_optimal_policy",
    "check_order_counts",
    "check_pack",
    "check_packed_positions",
    "check_packed_steps",
    "check_paired_error",
    "check_pairs_needed",
    "check_place_bonus",
    "check_preference_probability",
    "check_pulls",
    "check_questions_needed",
    "check_read_grade",
    "check_read_reply",
    "check_reward_gradient",
    "check_rewards_and_accuracy",
    "check_round_pair",
    "check_row_loss",
    "check_scaled_loss",
    "check_search_choice",
    "check_seed_difference",
    "check_self_play",
    "check_sentence_starts",
    "check_steps",
    "check_suspect_tens",
    "check_text_loss",
    "check_token_kl",
    "check_undo_order",
    "check_value_at_kl",
    "check_verdict",
    "check_whose_answers",
    "check_win_rate",
    "check_win_rates",
    "yours",
]
