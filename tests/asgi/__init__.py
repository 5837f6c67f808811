"""Tests of the ASGI layer, and what they share."""
