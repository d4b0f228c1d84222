"""``python -m zephyr_utils`` is ``zephyr``, for `accelerate launch -m`."""

from zephyr_utils.cli import main

main()
