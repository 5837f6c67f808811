"""The Redis engine: logs in Redis or Valkey, for several nodes."""

from everwire.engines.redis.engine import RedisEngine

__all__ = ["RedisEngine"]
