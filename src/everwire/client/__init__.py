"""The client of channels: subscriptions that lose nothing, commands, tokens, several transports."""

from everwire.client.client import Client
from everwire.client.events import (
    ClientInfo,
    Connected,
    Connecting,
    Disconnected,
    Event,
    Failure,
    History,
    Joined,
    Left,
    Message,
    PresenceStats,
    Publication,
    Subscribed,
    Subscribing,
    Unsubscribed,
)
from everwire.client.states import ClientState, SubscriptionState
from everwire.client.subscription import Subscription

__all__ = [
    "Client",
    "ClientInfo",
    "ClientState",
    "Connected",
    "Connecting",
    "Disconnected",
    "Event",
    "Failure",
    "History",
    "Joined",
    "Left",
    "Message",
    "PresenceStats",
    "Publication",
    "Subscribed",
    "Subscribing",
    "Subscription",
    "SubscriptionState",
    "Unsubscribed",
]
