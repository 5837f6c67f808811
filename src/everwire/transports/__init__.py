"""Transports: how the frames of a session get to a client and back."""
