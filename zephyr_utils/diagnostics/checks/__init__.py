"""The checks behind the traffic light, by what they look at; each gives reasons with colours."""

from zephyr_utils.diagnostics.checks.beside import check_beside
from zephyr_utils.diagnostics.checks.completeness import check_completeness
from zephyr_utils.diagnostics.checks.course import check_course
from zephyr_utils.diagnostics.checks.policy import check_policy
from zephyr_utils.diagnostics.checks.start import check_start

__all__ = ["check_beside", "check_completeness", "check_course", "check_policy", "check_start"]
