"""Utilities behind the Zephyr handbook: distilling the alignment of small language models.

The chapters in ``notebooks/`` import from here; ``zephyr`` on the command line calls the same
functions.
"""

import os

# Set before torch, transformers and trl are imported: fork-safe tokenizers, and no telemetry from a
# lesson.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
