"""Rules: which options and hooks a channel has, by its name."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from everwire.channels.context import Context
from everwire.channels.options import ChannelOptions, SubscribeOptions, as_subscribe_options
from everwire.channels.patterns import Pattern
from everwire.channels.payload import decoder, parameter_type

__all__ = ["Namespaces", "Rule", "SubscribeHook", "call"]

SubscribeHook = Callable[
    ..., Awaitable[SubscribeOptions | dict[str, Any] | None] | SubscribeOptions | dict[str, Any] | None
]
Hook = TypeVar("Hook", bound=Callable[..., Any])

MAX_CACHED = 10_000


async def call(hook: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    """Call a hook: a coroutine function, or a plain one that returns at once."""
    answer = hook(*args, **fields)
    return await answer if inspect.isawaitable(answer) else answer


class Rule:
    """The channels of one pattern or namespace: their options and hooks. What ``@hub.channel(...)`` makes.

    Hooks get a :class:`Context`, and the fields of the channel's name as arguments by name, as far as they
    name them.

    Attributes:
        pattern: which channels, or the name of a namespace.
        options: what they can do.
        log: how their logs are kept.
    """

    def __init__(
        self, pattern: Pattern | str, options: ChannelOptions, subscribe: SubscribeHook | None = None
    ) -> None:
        self.pattern = pattern
        self.options = options
        name = pattern.text if isinstance(pattern, Pattern) else f"{pattern}:"
        self.log = replace(options.log, namespace=name)
        self.check = decoder(options.type) if options.type is not None else None
        self.subscribe_hook = subscribe
        self.publish_hook: Callable[..., Any] | None = None
        self.publish_decoder: Callable[[Any], Any] | None = None
        self.refresh_hook: Callable[..., Any] | None = None
        self.unsubscribe_hook: Callable[..., Any] | None = None
        self.occupied_hook: Callable[..., Any] | None = None
        self.vacated_hook: Callable[..., Any] | None = None
        if subscribe is not None:
            self._fit(subscribe, "subscribe", 1)

    def on_publish(self, hook: Hook) -> Hook:
        """Ask ``hook(ctx, data, **fields)`` about what clients publish: it may raise, or return other data.

        With it they may publish unless it raises. The annotation of ``data`` is a type that payloads must
        fit.
        """
        self._fit(hook, "on_publish", 2)
        self.publish_hook = hook
        name = list(inspect.signature(hook).parameters)[1]
        kind = parameter_type(hook, name)
        self.publish_decoder = decoder(self.options.type if kind in (None, Any) else kind)
        return hook

    def on_refresh(self, hook: Hook) -> Hook:
        """Ask ``hook(ctx, **fields)`` when a subscription expires: for ``expire_at``, or None to end it."""
        self._fit(hook, "on_refresh", 1)
        self.refresh_hook = hook
        return hook

    def on_unsubscribe(self, hook: Hook) -> Hook:
        """Call ``hook(ctx, **fields)`` when a subscription has ended."""
        self._fit(hook, "on_unsubscribe", 1)
        self.unsubscribe_hook = hook
        return hook

    def on_occupied(self, hook: Hook) -> Hook:
        """Call ``hook(channel, **fields)`` when a channel gets its first subscriber."""
        self._fit(hook, "on_occupied", 1)
        self.occupied_hook = hook
        return hook

    def on_vacated(self, hook: Hook) -> Hook:
        """Call ``hook(channel, **fields)`` when its last subscriber has left."""
        self._fit(hook, "on_vacated", 1)
        self.vacated_hook = hook
        return hook

    def _fit(self, hook: Callable[..., Any], what: str, positional: int) -> None:
        """Complain of a hook that cannot take what it will be given.

        Raises:
            TypeError: it cannot.
        """
        fields = self.pattern.fields if isinstance(self.pattern, Pattern) else ()
        try:
            inspect.signature(hook).bind(*[None] * positional, **dict.fromkeys(fields))
        except TypeError as error:
            shape = ", ".join(["ctx", "data"][:positional] + list(fields))
            raise TypeError(
                f"the {what} hook {getattr(hook, '__name__', hook)!r} of {self!r} must take ({shape}): "
                f"{error}"
            ) from None

    def fields(self, channel: str) -> dict[str, Any]:
        """The fields of a channel's name."""
        return (self.pattern.match(channel) or {}) if isinstance(self.pattern, Pattern) else {}

    async def subscribe(self, ctx: Context) -> SubscribeOptions:
        """Ask the hook whether a session may subscribe; it may raise."""
        assert self.subscribe_hook is not None
        return as_subscribe_options(await call(self.subscribe_hook, ctx, **self.fields(ctx.channel)))

    def __repr__(self) -> str:
        name = self.pattern.text if isinstance(self.pattern, Pattern) else self.pattern
        return f"<channels {name!r}>"


class Namespaces:
    """All rules of a hub: patterns first, in the order in which they were declared; then namespaces.

    A channel ``chat:room`` is in the namespace ``chat`` if there is one; without a colon it is in the
    namespace without a name.
    """

    def __init__(self) -> None:
        self.patterns: list[Rule] = []
        self.named: dict[str, Rule] = {}
        self._cache: dict[str, Rule | None] = {}

    def add(self, rule: Rule) -> None:
        """Add a rule.

        Raises:
            ValueError: there is one of that name or pattern.
        """
        if isinstance(rule.pattern, Pattern):
            if any(
                isinstance(r.pattern, Pattern) and r.pattern.text == rule.pattern.text for r in self.patterns
            ):
                raise ValueError(f"there are channels {rule.pattern.text!r} already")
            self.patterns.append(rule)
        else:
            if rule.pattern in self.named:
                raise ValueError(f"there is a namespace {rule.pattern!r} already")
            self.named[rule.pattern] = rule
        self._cache.clear()

    def find(self, channel: str) -> Rule | None:
        """The rule of a channel; None: there is no such channel."""
        try:
            return self._cache[channel]
        except KeyError:
            pass
        rule = self._find(channel)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[channel] = rule
        return rule

    def _find(self, channel: str) -> Rule | None:
        for rule in self.patterns:
            if isinstance(rule.pattern, Pattern) and rule.pattern.match(channel) is not None:
                return rule
        # "$" marks channels that need a token; "#" begins the users of a limited channel.
        namespace, colon, _ = channel.removeprefix("$").partition("#")[0].partition(":")
        return self.named.get(namespace if colon else "")
