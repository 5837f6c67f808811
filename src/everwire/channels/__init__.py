"""Channels: the hub, the sessions of its clients, presence, tokens, options."""
