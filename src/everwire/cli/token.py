"""``everwire token``: make and check the tokens by which clients say who they are."""

from __future__ import annotations

import asyncio
import datetime
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import BadParameter

from everwire.errors import ConfigError, TokenError

__all__ = ["token"]

EPILOG = """[bold]Examples[/]
[cyan]everwire token connection --user 42 --expires 1h[/]
[cyan]everwire token subscription --user 42 --channel news[/]
[cyan]everwire token check TOKEN[/]"""


class What(StrEnum):
    """What is to be done."""

    CONNECTION = "connection"
    SUBSCRIPTION = "subscription"
    CHECK = "check"


def token(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="connection, subscription or check.")],
    given: Annotated[str | None, typer.Argument(metavar="TOKEN", help="The token to check.")] = None,
    user: Annotated[str, typer.Option(metavar="ID", help="The user's id; empty: nobody known.")] = "",
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="The channel of a subscription; channels to be subscribed to. Repeatable."
        ),
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it is valid: 30s, 5m, 1h, 7d, never.")
    ] = "1h",
    info: Annotated[
        str | None, typer.Option(metavar="JSON", help="About the user, told to others in the channels.")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="EVERWIRE_TOKEN_HMAC_SECRET_KEY",
            show_envvar=False,
            help="The key.  \\[default: that of EVERWIRE_TOKEN_HMAC_SECRET_KEY, or of --config]",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The configuration that has the key.")
    ] = None,
) -> None:
    """Make a token for a connection or a subscription, or check one."""
    options = _options(secret, config)
    if what is What.CHECK:
        if given is None:
            raise BadParameter("say which token: everwire token check TOKEN")
        _check(given, options)
        return
    if given is not None:
        raise BadParameter(f"a token is given to be checked only: everwire token check {given[:8]}...")
    typer.echo(_make(what, options, user, channel or [], _seconds(expires), _claims(info)))


def _options(secret: str | None, config: Path | None) -> dict[str, Any]:
    """The options by which tokens are checked."""
    if secret is not None:
        return {"token_hmac_secret_key": secret}
    if config is not None:
        from everwire.channels.config import load_config

        try:
            found = load_config(config).hub_options()
        except ConfigError as error:
            raise BadParameter(str(error)) from None
        options = {name: value for name, value in found.items() if name.startswith("token_")}
        if options:
            return options
        raise BadParameter(f"{config} has no key for tokens: set hmac_secret_key in its section [token]")
    raise BadParameter(
        "there is no key: give --secret or --config, or set EVERWIRE_TOKEN_HMAC_SECRET_KEY; for a new key: "
        "openssl rand -hex 32"
    )


def _seconds(text: str) -> float | None:
    if text == "never":
        return None
    from everwire.channels.config import Duration

    try:
        return Duration.parse(text)
    except ValueError as error:
        raise BadParameter(f"--expires: {error}, or 'never'") from None


def _claims(info: str | None) -> dict[str, Any]:
    if info is None:
        return {}
    try:
        return {"info": json.loads(info)}
    except ValueError as error:
        raise BadParameter(f"--info is no JSON: {error}") from None


def _make(
    what: What,
    options: dict[str, Any],
    user: str,
    channels: list[str],
    expires: float | None,
    claims: dict[str, Any],
) -> str:
    from everwire.channels.signing import Signer

    keys = options.get("token_hmac_secret_key")
    if not keys:
        raise BadParameter("tokens are made with a secret key; this configuration has public keys only")
    try:
        signer = Signer(keys if isinstance(keys, str) else keys[0])
    except ValueError as error:
        raise BadParameter(str(error)) from None
    if what is What.SUBSCRIPTION:
        if len(channels) != 1:
            raise BadParameter("a subscription is to one channel: --channel NAME")
        return signer.subscription(user, channels[0], expires=expires, **claims)
    if channels:
        claims["channels"] = channels
    return signer.connection(user, expires=expires, **claims)


def _check(given: str, options: dict[str, Any]) -> None:
    """Print what a token says; exit with 1 if it is not valid."""
    from everwire.channels.tokens import TokenOptions

    try:
        verifier = TokenOptions(**options).verifier()
    except ValueError as error:
        raise BadParameter(str(error)) from None
    assert verifier is not None
    try:
        try:
            subscription = asyncio.run(verifier.subscription(given))
            kind, user, until = "subscription", subscription.user, subscription.subscribe.expire_at
            channel = f" to the channel {subscription.channel!r}"
        except TokenError:
            connection = asyncio.run(verifier.connection(given))
            kind, user, until, channel = "connection", connection.user, connection.expire_at, ""
    except TokenError as error:
        typer.secho("not valid", fg="red", bold=True, nl=False, err=True)
        typer.echo(f": {error}", err=True)
        raise typer.Exit(1) from None
    typer.secho("valid", fg="green", bold=True, nl=False)
    typer.echo(f": a {kind} token of {user or 'nobody known'!r}{channel}")
    when = datetime.datetime.fromtimestamp(until).astimezone().isoformat(" ", "seconds") if until else "never"
    typer.echo(f"expires: {when}")
