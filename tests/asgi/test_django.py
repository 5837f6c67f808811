"""A Django application under ``everwire serve``, as a project of Django has it."""

from __future__ import annotations

import http.client
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from asgi.programs import get, hosting, open_socket

SOURCE = """
import asyncio
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="for tests", ROOT_URLCONF=__name__, DEBUG=False,
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    SECURE_CONTENT_TYPE_NOSNIFF=True,
)

def sync(request):
    return HttpResponse(f"hello {request.GET.get('name')} from {request.META['REMOTE_ADDR']}")

async def wait(request):
    await asyncio.sleep(0)
    return JsonResponse({"scheme": request.scheme, "host": request.get_host()})

@csrf_exempt
def upload(request):
    return HttpResponse(f"{request.method} {sum(len(each) for each in request)}")

async def stream(request):
    async def parts():
        for number in range(3):
            yield f"part {number}\\n"
            await asyncio.sleep(0)
    return StreamingHttpResponse(parts(), content_type="text/plain")

def fail(request):
    raise ValueError("broken")

urlpatterns = [
    path("sync", sync), path("async", wait), path("upload", upload), path("stream", stream),
    path("fail", fail),
]
app = get_asgi_application()
"""


def test_a_project_of_django(tmp_path: Path) -> None:
    with hosting(tmp_path, source=SOURCE) as (program, url):
        assert get(url, "/sync?name=ann") == "hello ann from 127.0.0.1"
        place = urlsplit(url).netloc
        assert get(url, "/async") == f'{{"scheme": "http", "host": "{place}"}}'
        assert get(url, "/stream") == "part 0\npart 1\npart 2\n"
        kept = http.client.HTTPConnection(place, timeout=20)
        for size in (0, 3_000_000):
            # Django keeps bodies from 2.5 MB on in a file.
            kept.request("POST", "/upload", body=bytes(size))
            response = kept.getresponse()
            assert response.read() == b"POST %d" % size
            assert response.headers["x-content-type-options"] == "nosniff"
        for path, host, status in (
            ("/nowhere", place, 404),
            ("/fail", place, 500),
            ("/sync", "evil.example", 400),
        ):
            kept.request("GET", path, headers={"Host": host})
            response = kept.getresponse()
            response.read()
            assert response.status == status
        # Django without Channels takes no WebSockets: that is a refusal, and harms nothing.
        with pytest.raises(InvalidStatus) as refused, open_socket(url):
            pass
        assert refused.value.response.status_code == 500
        kept.request("GET", "/sync?name=bob")
        assert kept.getresponse().read().startswith(b"hello bob")
        # The connection that is kept does not hold up the end.
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=8) == 0
        kept.close()
