"""From raw dialogues to an evaluated model: one artefact per step, made once and reused."""
