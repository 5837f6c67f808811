"""Logs in NATS JetStream: one log for many nodes."""

from everwire.engines.nats.engine import NatsEngine

__all__ = ["NatsEngine"]
