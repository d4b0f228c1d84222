"""Forty prompts of the miniature's world, for the tests of feedback."""

import random

from zephyr_utils.miniature.world import draw_question

_RNG = random.Random(3)
WORLD_PROMPTS = list(dict.fromkeys(draw_question(_RNG).turns[0] for _ in range(40)))
