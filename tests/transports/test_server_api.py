"""The server API over HTTP: keys, bodies, other origins, and the client of another project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cent
import httpx
import pytest
from conftest import Run
from transports.sites import site

import everwire
from everwire.channels.context import Credentials

KEY = "the-key"


def a_hub(**options: Any) -> everwire.Hub:
    hub = everwire.Hub(**{"api_key": KEY, **options})
    hub.namespace("", history=10, presence=True, allow_subscribe_for_client=True)
    hub.on_connect(lambda ctx: Credentials(user="42"))
    return hub


@pytest.mark.parametrize(
    ("options", "headers", "status", "says"),
    [
        ({}, {"X-API-Key": KEY}, 200, '"offset":1'),
        ({}, {"Authorization": f"apikey {KEY}"}, 200, '"offset":1'),
        ({"api_key": ["new", KEY]}, {"X-API-Key": "new"}, 200, '"offset":1'),
        ({}, {}, 401, "asks for a key"),
        ({}, {"X-API-Key": "wrong"}, 401, "is wrong"),
        ({}, {"X-API-Key": KEY + "x"}, 401, "is wrong"),
        ({}, {"Authorization": f"Bearer {KEY}"}, 401, "asks for a key"),
        ({"api_key": ()}, {"X-API-Key": "x"}, 403, "has no key"),
        ({"api_key": (), "insecure": True}, {}, 200, '"offset":1'),
        ({"api_key": (), "insecure": True}, {"Origin": "https://evil.example"}, 403, "origin"),
    ],
)
def test_who_may_call(
    run: Run, options: dict[str, Any], headers: dict[str, str], status: int, says: str
) -> None:
    async def main() -> None:
        async with site("everwire", a_hub(**options)) as here, httpx.AsyncClient() as http:
            url = here.url("").removesuffix("/connection") + "/api/publish"
            answer = await http.post(url, json={"channel": "a", "data": 1}, headers=headers)
            assert (answer.status_code, says.lower() in answer.text.lower()) == (status, True), answer.text
            assert KEY not in answer.text

    run(main)


@pytest.mark.parametrize(
    ("path", "body", "errors", "status", "code"),
    [
        ("/api/nothing", b"{}", "", 200, 104),
        ("/api/nothing", b"{}", "transport", 404, 104),
        ("/api/publish", b'{"channel":"no:a","data":1}', "transport", 404, 102),
        ("/api/publish", b"nonsense", "", 200, 107),
        ("/api/publish", b"nonsense", "transport", 400, 107),
    ],
)
def test_errors(run: Run, path: str, body: bytes, errors: str, status: int, code: int) -> None:
    async def main() -> None:
        async with site("everwire", a_hub()) as here, httpx.AsyncClient() as http:
            answer = await http.post(
                here.url("").removesuffix("/connection") + path,
                content=body,
                headers={"X-API-Key": KEY, "X-Centrifugo-Error-Mode": errors},
            )
            assert answer.status_code == status
            found = answer.json() if errors else answer.json()["error"]
            assert found["code"] == code and found["message"]
            other = await http.get(here.url("").removesuffix("/connection") + path)
            assert (other.status_code, other.headers["allow"]) == (405, "POST")

    run(main)


@pytest.mark.parametrize("key", ["", " x", "ä", "a\nb"])
def test_a_key_that_no_header_can_have_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="api_key"):
        everwire.Hub(api_key=key)


def calls() -> list[tuple[Any, Callable[[Any], bool]]]:
    """What cent's client asks, and what is to be true of the answers."""
    return [
        (cent.PublishRequest(channel="a", data={"n": 1}, idempotency_key="k"), lambda r: r.offset == 1),
        (cent.PublishRequest(channel="a", data={"n": 1}, idempotency_key="k"), lambda r: r.offset == 1),
        (cent.BroadcastRequest(channels=["a", "b"], data=[2]), lambda r: r.responses[0].result.offset == 2),
        (cent.HistoryRequest(channel="a", limit=-1), lambda r: [p.offset for p in r.publications] == [1, 2]),
        (cent.PresenceRequest(channel="a"), lambda r: r.presence == {}),
        (cent.PresenceStatsRequest(channel="a"), lambda r: (r.num_clients, r.num_users) == (0, 0)),
        (cent.SubscribeRequest(user="42", channel="a"), lambda r: True),
        (cent.UnsubscribeRequest(user="42", channel="a"), lambda r: True),
        (cent.RefreshRequest(user="42", expired=False), lambda r: True),
        (cent.DisconnectRequest(user="42"), lambda r: True),
        (cent.HistoryRemoveRequest(channel="a"), lambda r: True),
        (cent.HistoryRequest(channel="a", limit=-1), lambda r: r.publications == []),
        (cent.ChannelsRequest(), lambda r: r.channels == {}),
        (cent.InfoRequest(), lambda r: r.nodes[0].num_clients == 0),
    ]


def test_cents_client_works_unmodified(run: Run) -> None:
    async def main() -> None:
        async with site("everwire", a_hub()) as here:
            url = here.url("").removesuffix("/connection") + "/api"
            async with cent.AsyncClient(url, KEY) as client:
                for request, right in calls():
                    method = type(request).__name__.removesuffix("Request")
                    name = "".join("_" + c.lower() if c.isupper() else c for c in method).strip("_")
                    result = await getattr(client, name)(request)
                    assert right(result), (request, result)
                batch = cent.BatchRequest(
                    requests=[
                        cent.PublishRequest(channel="a", data=1),
                        cent.PublishRequest(channel="a", data=2),
                        cent.InfoRequest(),
                    ]
                )
                replies = (await client.batch(batch)).replies
                assert [each.offset for each in replies[:2]] == [3, 4]
                with pytest.raises(cent.CentApiResponseError) as refused:
                    await client.publish(cent.PublishRequest(channel="no:a", data=1))
                assert refused.value.code == 102
            async with cent.AsyncClient(url, "wrong") as client:
                with pytest.raises(cent.CentUnauthorizedError):
                    await client.info(cent.InfoRequest())

    run(main)
