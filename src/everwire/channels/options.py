"""What channels can do: their options, as declared in code or in a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast, get_args

from everwire.channels.engine import LogOptions
from everwire.pacing import as_rate_limit

__all__ = [
    "ChannelOptions",
    "HubOptions",
    "Permission",
    "SubscribeOptions",
    "as_answer",
    "as_subscribe_options",
    "as_ttl",
]

MAX_TTL = 2**31 - 1

Permission = Literal["sub", "pub", "prs", "hst"]
"""Subscribe, publish, ask who is there, read the log: what these are called in tokens."""
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """The options of the channels of one pattern or namespace.

    Attributes:
        history: publications that are kept in the log of each channel; 0: none are, and nothing can be
            recovered.
        ttl: seconds that a publication is kept.
        meta_ttl: seconds that the identity of a log (epoch and top offset) outlives its last publication.
        presence: whether it is known who is subscribed.
        join_leave: whether it is told who comes and leaves: to subscribers who ask for it, or, with
            *force_push_join_leave*, to all.
        force_push_join_leave: tell all subscribers.
        force_recovery: whether each subscription can be recovered; None: if there is a log.
        force_positioning: whether gaps in what a subscriber is sent are looked for, and told; None: if there
            is a log.
        allow_recovery, allow_positioning: whether subscribers may ask for these.
        force_recovery_mode: what is recovered: ``"stream"``: all that was missed; ``"cache"``: the latest.
        auto_cache_recover: with the mode ``"cache"``, send the latest to each new subscriber, too.
        allowed_delta_types: differences that subscribers may ask for: ``("fossil",)`` or none.
        delta_publish: whether what clients publish is sent as a difference to those who asked for that.
        allow_tags_filter: whether subscribers may filter by tags.
        allow_channel_compaction: whether subscribers may ask for a number in place of the channel's name.
            Off, as in Centrifugo: in Protobuf, centrifuge-js 5.7 asks for it, then drops what comes that way.
        allow_subscribe_for_client: whether everybody who is known may subscribe; with
            *allow_subscribe_for_anonymous*, everybody.
        allow_publish_for_client, allow_publish_for_subscriber, allow_publish_for_anonymous: who may publish.
        allow_presence_for_client, allow_presence_for_subscriber, allow_presence_for_anonymous: who may ask
            who is there.
        allow_history_for_client, allow_history_for_subscriber, allow_history_for_anonymous: who may read the
            log.
        allow_user_limited_channels: whether ``name#1,2`` is for the users 1 and 2 only, who may subscribe.
        type: what payloads are: a type that clients' publications must fit; None: anything.
        max_subscribers: subscribers of one channel on this node; 0: no limit.
    """

    history: int = 0
    ttl: float = 300.0
    meta_ttl: float = 30 * 86400.0
    presence: bool = False
    join_leave: bool = False
    force_push_join_leave: bool = False
    force_recovery: bool | None = None
    force_positioning: bool | None = None
    allow_recovery: bool = False
    allow_positioning: bool = False
    force_recovery_mode: Literal["stream", "cache"] = "stream"
    auto_cache_recover: bool = False
    allowed_delta_types: Sequence[str] = ()
    delta_publish: bool = False
    allow_tags_filter: bool = True
    allow_channel_compaction: bool = False
    allow_subscribe_for_client: bool = False
    allow_subscribe_for_anonymous: bool = False
    allow_publish_for_client: bool = False
    allow_publish_for_subscriber: bool = False
    allow_publish_for_anonymous: bool = False
    allow_presence_for_client: bool = False
    allow_presence_for_subscriber: bool = True
    allow_presence_for_anonymous: bool = True
    allow_history_for_client: bool = False
    allow_history_for_subscriber: bool = True
    allow_history_for_anonymous: bool = True
    allow_user_limited_channels: bool = False
    type: Any = None
    max_subscribers: int = 0
    log: LogOptions = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("history", "ttl", "meta_ttl", "max_subscribers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is 0 or more, not {getattr(self, name)!r}")
        if self.force_recovery_mode not in ("stream", "cache"):
            raise ValueError(f"force_recovery_mode is 'stream' or 'cache', not {self.force_recovery_mode!r}")
        if unknown := set(self.allowed_delta_types) - {"fossil"}:
            raise ValueError(f"allowed_delta_types knows 'fossil' only, not {min(unknown)!r}")
        kept = self.history if self.ttl else 0
        if self.force_recovery and not kept:
            raise ValueError("force_recovery needs a log: give the channel history and ttl")
        set_ = object.__setattr__
        set_(self, "log", LogOptions(size=kept, ttl=self.ttl, meta_ttl=self.meta_ttl))
        if self.force_recovery is None:
            set_(self, "force_recovery", kept > 0)
        if self.force_positioning is None:
            set_(self, "force_positioning", kept > 0)


@dataclass(slots=True, kw_only=True)
class SubscribeOptions:
    """What a hook says of one subscription, beyond that it is allowed. None: as the channel's options say.

    Attributes:
        info: about this subscriber, told by presence, joins and publications: any value that JSON can carry.
        data: for the subscriber, with the answer.
        expire_at: when the subscription expires, in seconds since 1970; 0: never.
        client_side_refresh: whether the client is to ask for a new token before that; else the ``refresh``
            hook
            of the channel is asked.
        presence, join_leave, force_push_join_leave, force_positioning, force_recovery: as the channel's
            options.
        allow: what the subscriber may do in the channel beyond its options, while it is subscribed:
            ``"pub"`` publish, ``"prs"`` ask who is there, ``"hst"`` read the log and be recovered.

    Raises:
        ValueError: *allow* names something else.
    """

    info: Any = None
    data: Any = None
    expire_at: float = 0
    client_side_refresh: bool = True
    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_positioning: bool | None = None
    force_recovery: bool | None = None
    allow: Sequence[Permission] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.allow) - set(PERMISSIONS):
            raise ValueError(f"allow knows {', '.join(PERMISSIONS)}, not {min(unknown)!r}")


def as_answer(kind: type[Answer], answer: object, refusal: str) -> Answer:
    """What a hook has answered that returns this kind of thing, or a dict of its attributes.

    Raises:
        TypeError: it has returned something else.
    """
    if isinstance(answer, kind):
        return answer
    if isinstance(answer, dict):
        return kind(**cast(dict[str, Any], answer))
    raise TypeError(
        f"a hook returns {kind.__name__}, a dict of them or None, and raises {refusal} to refuse; "
        f"it returned {type(answer).__name__}"
    )


def as_subscribe_options(answer: object) -> SubscribeOptions:
    """What a hook has answered; None: nothing beyond that it is allowed.

    Raises:
        TypeError: it is neither options, nor a dict of them, nor None.
    """
    return SubscribeOptions() if answer is None else as_answer(SubscribeOptions, answer, "Forbidden")


def as_ttl(left: float) -> int:
    """Seconds that are left as clients are told: at least one, at most what their formats can carry."""
    return min(max(int(left), 1), MAX_TTL)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """The options of a hub: see :class:`everwire.channels.hub.Hub`."""

    ping_interval: float = 25.0
    pong_timeout: float = 8.0
    stale_timeout: float = 10.0
    expired_close_delay: float = 25.0
    presence_ttl: float = 60.0
    channel_limit: int = 128
    channel_max_length: int = 255
    user_connection_limit: int = 0
    connection_limit: int = 0
    connection_rate_limit: float = 0
    history_max_publication_limit: int = 300
    recovery_max_publication_limit: int = 300
    max_queued: int = 1 << 20
    insecure: bool = False
    allow_anonymous_connect_without_token: bool | None = None
    user_personal_channel: str | None = None
    node_info_interval: float = 3.0
    survey_timeout: float = 5.0
    position_check_interval: float = 40.0
    engine_start_timeout: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "ping_interval",
            "pong_timeout",
            "stale_timeout",
            "presence_ttl",
            "node_info_interval",
            "survey_timeout",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is a number of seconds above 0, not {getattr(self, name)!r}")
        as_rate_limit(self.connection_rate_limit)
        if self.pong_timeout >= self.ping_interval:
            raise ValueError(
                f"pong_timeout ({self.pong_timeout:g} s) must be below "
                f"ping_interval ({self.ping_interval:g} s)"
            )
