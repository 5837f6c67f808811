"""The configurations for nginx and Caddy work as they are printed, but for paths, ports and certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Certificates, Run
from interop.programs import daemon, find, free_port

import everwire
from docs.pages import DOCS, blocks

PRINTED = {
    block.language: block.code for block in blocks(DOCS / "how-to" / "reverse-proxies.md") if block.language
}

NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{printed}
}}
"""

CADDY = """
{{
    admin off
    auto_https off
    storage file_system {folder}/storage
}}
{printed}
"""


def adapted(printed: str, changes: dict[str, str]) -> str:
    """What is printed, with these changes, all of which must apply."""
    for old, new in changes.items():
        assert old in printed, f"{old!r} is not printed any more"
        printed = printed.replace(old, new)
    return printed


@pytest.fixture(params=["nginx", "caddy"])
def port(request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates) -> Iterator[int]:
    """The port of a proxy with the printed configuration, whose server is to listen at ``app.sock``."""
    name, port = request.param, free_port()
    program = find(name)
    certificate, key = tmp_path / "example.pem", tmp_path / "example.key"
    issued = certificates.authority.issue_cert("example.com")
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    values = {"folder": tmp_path, "user": "user root;" if os.geteuid() == 0 else ""}
    config = tmp_path / f"{name}.conf"
    if name == "nginx":
        changes = {
            "/run/app/app.sock": f"{tmp_path}/app.sock",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/example.com.pem": str(certificate),
            "/etc/ssl/example.com.key": str(key),
        }
        config.write_text(NGINX.format(**values, printed=adapted(PRINTED["nginx"], changes)))
        command = [program, "-e", "stderr", "-p", tmp_path, "-c", config]
    else:
        site = f"https://example.com:{port} {{\n    bind 127.0.0.1\n    tls {certificate} {key}"
        changes = {"/run/app/app.sock": f"{tmp_path}/app.sock", "example.com {": site}
        config.write_text(CADDY.format(**values, printed=adapted(PRINTED["caddyfile"], changes)))
        command = [program, "run", "--config", config, "--adapter", "caddyfile"]
    env = dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME"), str(tmp_path))
    with daemon(command, tmp_path / "log", port=port, env=env):
        yield port


def test_a_page_behind_it_connects(port: int, tmp_path: Path, certificates: Certificates, run: Run) -> None:
    async def handler(ws: everwire.Connection) -> None:
        await ws.send(ws.request.headers["X-Forwarded-For"])

    async def main() -> None:
        async with (
            everwire.serve(handler, unix=tmp_path / "app.sock"),
            everwire.connect(
                f"wss://example.com:{port}/ws",
                host="127.0.0.1",
                ssl=certificates.client,
                origin=f"https://example.com:{port}",
                proxy=None,
            ) as ws,
        ):
            assert await ws.recv() == "127.0.0.1"

    run(main)
