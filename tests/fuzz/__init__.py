"""Coverage-guided fuzzing of what reads the peer's bytes."""
