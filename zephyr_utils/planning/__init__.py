"""What a scale needs before it is started: memory, updates and hours."""
