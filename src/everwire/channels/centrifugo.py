"""What options of Centrifugo's configuration (version 6) are called here, for those who come from it."""

from __future__ import annotations

__all__ = ["ALWAYS", "OPTIONS", "advice"]

PROXY = "a hook in Python: on_connect, on_refresh, a channel's function, on_publish, rpc"
MAP = "nothing: subscriptions to maps and shared polls are not there"
ALWAYS = "nothing: it is always there"

OPTIONS = {
    "http_server": "options of the command line: --host, --port, --ssl-cert, --ssl-key",
    "log": "options of the command line: --log-level",
    "broker": "engine, which has logs and presence",
    "presence_manager": "engine, which has logs and presence",
    "controller": "engine, which carries what nodes tell each other",
    "map_broker": MAP,
    "shared_poll": MAP,
    "rpc": "@hub.rpc(method) in Python",
    "proxies": PROXY,
    "http_api": "[api]",
    "grpc_api": "nothing: the server API is over HTTP, in [api]",
    "consumers": "nothing: publish over the server API or in Python",
    "websocket": "max_size in [client]; it is always there",
    "sse": ALWAYS,
    "http_stream": ALWAYS,
    "uni_websocket": ALWAYS,
    "uni_sse": ALWAYS,
    "uni_http_stream": ALWAYS,
    "emulation": ALWAYS,
    "webtransport": "nothing: WebTransport is not there",
    "uni_grpc": "nothing: gRPC is not there",
    "admin": "the page of `everwire serve`, --page and --no-page",
    "prometheus": "[metrics]",
    "health": "nothing: /health and /health/ready are always there",
    "swagger": "nothing: the server API is described in the documentation",
    "debug": "nothing",
    "init": "nothing",
    "opentelemetry": "nothing",
    "graphite": "nothing: metrics are for Prometheus, in [metrics]",
    "usage_stats": "nothing: nothing is reported to anybody",
    "node": "name",
    "shutdown": "--drain-spread and --timeout-graceful-shutdown of the command line",
    "client.allowed_origins": "origins",
    "client.token": "[token]",
    "client.subscription_token": "[token], whose keys are for both",
    "client.proxy": PROXY,
    "client.expired_sub_close_delay": "expired_close_delay, for both",
    "client.stale_close_delay": "stale_timeout",
    "client.queue_max_size": "max_backlog",
    "client.presence_update_interval": "ping_interval, at which presence is refreshed",
    "client.channel_position_check_delay": "position_check_interval",
    "client.channel_position_max_time_lag": "position_check_interval",
    "client.subscribe_to_user_personal_channel": "user_personal_channel, the name of a namespace",
    "client.insecure": "insecure, outside of sections",
    "client.insecure_skip_token_signature_verify": "nothing: tokens are always checked",
    "client.user_id_http_header": "an on_connect hook in Python, which sees ctx.headers",
    "client.concurrency": "nothing: the commands of a session are handled in order",
    "token.hmac_previous_secret_key": "a list in hmac_secret_key: the new one, then the old one",
    "token.hmac_previous_secret_key_valid_until": "nothing: take the old key out of the list",
    "token.audience_regex": "audience",
    "token.issuer_regex": "issuer",
    "channel.max_length": "channel_max_length in [client]",
    "channel.proxy": PROXY,
    "channel.private_prefix": "nothing: names with $ at their beginning need a token",
    "channel.namespace_boundary": "nothing: it is a colon",
    "channel.user_boundary": "nothing: it is #",
    "channel.user_separator": "nothing: it is a comma",
    "channel.namespaces.channel_regex": "a pattern in [[channel.patterns]]",
    "channel.namespaces.publication_data_format": "the option type of a channel in Python",
    "channel.namespaces.subscribe_proxy_enabled": "the function of a channel in Python",
    "channel.namespaces.publish_proxy_enabled": "on_publish of a channel in Python",
    "channel.namespaces.sub_refresh_proxy_enabled": "on_refresh of a channel in Python",
    "channel.namespaces.subscription_type": MAP,
    "channel.namespaces.map": MAP,
}
"""By their path there; those of a namespace are those of ``channel.without_namespace``, too."""


def advice(path: str) -> str:
    """What is here in the place of an option, by its path; empty: it is none of Centrifugo's."""
    path = path.replace("channel.without_namespace.", "channel.namespaces.")
    return OPTIONS.get(path, "")
