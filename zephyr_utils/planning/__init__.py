"""What a scale needs before it is started: memory, steps and hours."""
