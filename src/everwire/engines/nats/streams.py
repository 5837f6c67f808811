"""The streams of JetStream: one for each namespace, which holds the logs of its channels."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from everwire.channels.engine import LogOptions
from everwire.engines.local import new_epoch
from everwire.engines.nats.names import Names
from everwire.engines.nats.requests import ApiError, NoResponders, Requests, Unanswered
from everwire.errors import ConfigError, EngineError

__all__ = ["NOT_NOW", "Storage", "Stream", "Streams", "id_window"]

EPOCH = "everwire.epoch"
"""Where a stream's metadata has its epoch."""

FRESH = 1.0
"""Seconds for which it is believed that a stream is still the one that was seen last."""

NOT_FOUND = 10059
EXISTS = 10058
NOT_ENABLED = {10039, 10076}
IMPOSSIBLE = {10023, 10047, 10074}
"""Codes of JetStream: what cannot be as it is configured. (10023: too few servers, or too little room.)"""
NOT_NOW = {10008, 10009, 10118, 10163, 10167, 10210, 10211}
"""Codes of JetStream: it may go when it is tried again; nothing was done."""

WINDOW = 120.0
"""Seconds for which JetStream knows the ids of publications that have an idempotency key, at most."""

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How streams are kept.

    Attributes:
        replicas: servers that have a copy.
        kind: ``"file"`` or ``"memory"``.
        max_size: bytes of one stream; 0: any number.
    """

    replicas: int = 1
    kind: str = "file"
    max_size: int = 0


class Stream:
    """A stream as it is.

    Attributes:
        name: in JetStream.
        epoch: the identity of its logs: another one for each stream that is made.
        options: how its logs are kept.
        log, key, version: what the subjects of logs, idempotency keys and versions begin with. They contain
            the epoch: what is meant for a stream that was deleted does not end up in its successor.
        replicas: servers that have a copy.
    """

    __slots__ = ("epoch", "key", "log", "name", "options", "replicas", "seen", "version")

    def __init__(self, names: Names, options: LogOptions, epoch: str, replicas: int, seen: float) -> None:
        namespace = options.namespace
        self.name = names.stream(namespace)
        self.epoch = epoch
        self.options = options
        self.replicas = replicas
        self.log = names.log("log", namespace, epoch)
        self.key = names.log("key", namespace, epoch)
        self.version = names.log("version", namespace, epoch)
        self.seen = seen


class Streams:
    """The streams that this node uses, made when they are first needed."""

    def __init__(self, requests: Requests, names: Names, storage: Storage) -> None:
        self._requests = requests
        self._names = names
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, Stream] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def known(self, log: LogOptions) -> Stream | None:
        """The stream for logs that are kept so, if it was used before."""
        found = self._known.get(log.namespace)
        return found if found is not None and found.options == log else None

    async def get(self, log: LogOptions) -> Stream:
        """The stream for logs that are kept so; it is made, or its limits are changed, if need be."""
        return self.known(log) or await self.look(log)

    async def look(self, log: LogOptions, *, unless_fresh: bool = False) -> Stream:
        """The same, after having asked whether it is still there."""
        lock = self._locks.setdefault(log.namespace, asyncio.Lock())
        async with lock:
            known = self.known(log)
            now = self._loop.time()
            if unless_fresh and known is not None and now - known.seen < FRESH:
                return known
            epoch, replicas = await self._ensure(log)
            if known is not None and known.epoch == epoch:
                known.seen, known.replicas = now, replicas
                return known
            found = self._known[log.namespace] = Stream(self._names, log, epoch, replicas, now)
            return found

    async def look_again(self) -> None:
        """Ask whether all are still there."""
        for each in list(self._known.values()):
            await self.look(each.options)

    def uses(self, name: str) -> bool:
        """Whether this is the name of a stream that this node uses."""
        return any(each.name == name for each in self._known.values())

    async def check(self) -> None:
        """See that what is in use is there and has a leader.

        Raises:
            EngineError: it is not.
        """
        names = [self._names.presence, *(each.name for each in self._known.values())]
        for info in await asyncio.gather(*(self._requests.api(f"STREAM.INFO.{name}") for name in names)):
            cluster = info.get("cluster")
            if cluster and not cluster.get("leader"):
                raise EngineError(f"the stream {info['config']['name']} has no leader")

    async def all_logs(self) -> list[tuple[str, str]]:
        """All streams of this hub, those that this node does not use as well: names, and what subjects of
        logs begin with."""
        found: list[tuple[str, str]] = []
        total = 1
        while len(found) < total:
            request = {"subject": self._names.logs, "offset": len(found)}
            page = await self._requests.api("STREAM.LIST", request)
            configs = [each["config"] for each in page.get("streams") or ()]
            found += [(each["name"], each["subjects"][0].removesuffix("*")) for each in configs]
            total = page.get("total", 0) if configs else 0
        return found

    async def subjects(self, stream: str, pattern: str) -> list[str]:
        """The subjects of a stream that have messages."""
        found: list[str] = []
        total = 1
        while len(found) < total:
            request = {"subjects_filter": pattern, "offset": len(found)}
            info = await self._requests.api(f"STREAM.INFO.{stream}", request)
            page: dict[str, int] = info["state"].get("subjects") or {}
            found += page
            total = info.get("total", 0) if page else 0
        return found

    async def ensure_others(self) -> None:
        """Make the streams that no namespace has: for presence, and for keys of channels without a log."""
        names = self._names
        await self._make(
            {
                "name": names.presence,
                "subjects": [names.presence_subjects + ">"],
                "max_msgs_per_subject": 1,
                "storage": "memory",
                "description": "who is in which channel (everwire)",
            }
        )
        await self._make(
            {
                "name": names.keys,
                "subjects": [names.key_subjects],
                "max_msgs_per_subject": 1,
                "storage": self._storage.kind,
                "description": "idempotency keys of channels without a log (everwire)",
            }
        )

    async def _ensure(self, log: LogOptions) -> tuple[str, int]:
        """Make the stream of a namespace, or take what another node has made; return epoch and replicas."""
        namespace, names = log.namespace, self._names
        epoch = new_epoch()
        prefixes = [names.log(kind, namespace, epoch) for kind in ("log", "key", "version")]
        wanted = {
            "name": names.stream(namespace),
            "subjects": [prefix + "*" for prefix in prefixes],
            "republish": {
                "src": prefixes[0] + "*",
                "dest": f"{names.prefix}.live.{{{{wildcard(1)}}}}.{epoch}",
            },
            "metadata": {EPOCH: epoch},
            "storage": self._storage.kind,
            "allow_rollup_hdrs": True,
            "allow_atomic": True,
            "description": f"the logs of channels of {namespace or 'no namespace'} (everwire)",
        }
        config = await self._make(wanted | self._limits(log))
        return config["metadata"][EPOCH], int(config.get("num_replicas", 1))

    def _limits(self, log: LogOptions) -> dict[str, Any]:
        """What may change later."""
        # One publication more than the log has: it shows that there was something before the first one.
        return {
            "max_msgs_per_subject": log.size + 1,
            "max_age": int(_age(log) * NANOSECONDS),
            "duplicate_window": int(id_window(log) * NANOSECONDS),
            "max_bytes": self._storage.max_size or -1,
            "num_replicas": self._storage.replicas,
        }

    async def _make(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Have a stream, with the limits wanted; return its configuration."""
        name: str = wanted["name"]
        wanted.setdefault("num_replicas", self._storage.replicas)
        wanted |= {"discard": "new", "allow_direct": True, "allow_msg_ttl": True, "max_consumers": -1}
        deadline = self._loop.time() + self._requests.timeout
        while True:
            try:
                return await self._made(name, wanted)
            except (ApiError, NoResponders, Unanswered) as error:
                code = error.code if isinstance(error, ApiError) else 0
                if code in IMPOSSIBLE:
                    raise ConfigError(
                        f"NATS cannot have the stream {name}: {error}; replicas={wanted['num_replicas']} "
                        f"needs that many servers in a cluster with JetStream, and room on each"
                    ) from error
                if code in NOT_ENABLED or code == 0:
                    raise _missing(error) from error
                # Not found, and not to be made either: another node is just making it.
                if code not in (*NOT_NOW, NOT_FOUND) or self._loop.time() > deadline:
                    raise
            await asyncio.sleep(0.05)

    async def _made(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        api = self._requests.api
        try:
            info = await api(f"STREAM.INFO.{name}")
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            try:
                info = await api(f"STREAM.CREATE.{name}", wanted)
            except ApiError as other:
                if other.code != EXISTS:
                    raise
                info = await api(f"STREAM.INFO.{name}")
        config: dict[str, Any] = info["config"]
        is_log = "republish" in wanted
        metadata: dict[str, str] = config.get("metadata") or {}
        if not metadata.get(EPOCH) if is_log else config.get("subjects") != wanted["subjects"]:
            raise ConfigError(
                f"the stream {name} in NATS is not everwire's: choose another prefix, or delete it"
            )
        changed = {key: wanted[key] for key in LIMITS if key in wanted and config.get(key) != wanted[key]}
        if changed:
            info = await api(f"STREAM.UPDATE.{name}", config | changed)
            config = info["config"]
        return config


def _age(log: LogOptions) -> float:
    """Seconds that messages are kept; 0: for ever."""
    return max(log.meta_ttl, log.ttl) if log.meta_ttl else 0.0


def id_window(log: LogOptions) -> float:
    """Seconds for which JetStream knows the ids of publications that have an idempotency key."""
    return min(_age(log) or WINDOW, WINDOW)


LIMITS = ("max_msgs_per_subject", "max_age", "max_bytes", "num_replicas", "duplicate_window")
"""What is changed in a stream that is there already."""


def _missing(error: EngineError) -> EngineError | ConfigError:
    """What to tell of a JetStream that is not there."""
    if isinstance(error, Unanswered):
        return error
    if isinstance(error, ApiError) and error.code == 0:
        return ConfigError(
            f"{error}: allow it to publish to $JS.API.> and to everwire's subjects, in NATS's configuration"
        )
    return ConfigError(
        f"NATS has no JetStream ({error}): start its servers with -js, or enable it for this account"
    )
