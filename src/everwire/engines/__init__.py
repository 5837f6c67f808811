"""Engines: where the logs of channels are kept."""
