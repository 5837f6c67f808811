"""Memory for large messages, used again: nothing of it is for Python."""
