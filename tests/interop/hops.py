"""nginx and Caddy in front of everwire: how they are configured, and the servers behind them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import Certificates

from interop.programs import daemon, find, free_port

NGINX_HEAD = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
"""
"""How each configuration of nginx begins: in the foreground, with all it writes in one folder."""
NGINX = (
    NGINX_HEAD
    + """
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {certificates.cert_file};
        ssl_certificate_key {certificates.key_file};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        location / {{ proxy_pass http://127.0.0.1:{tcp}; }}
        location /unix {{ proxy_pass http://unix:{unix}; }}
        location /tls {{
            proxy_pass https://127.0.0.1:{tls};
            proxy_ssl_trusted_certificate {certificates.ca_file};
            proxy_ssl_name localhost;
            proxy_ssl_verify on;
        }}
        location /gone {{ proxy_pass http://unix:{folder}/gone.sock; }}
        location /impatient {{ proxy_pass http://127.0.0.1:{tcp}; proxy_read_timeout 1s; }}
    }}
}}
"""
)

CADDY = """
{{
    admin off
    auto_https off
    storage file_system {folder}/storage
}}
(sites) {{
    reverse_proxy /unix* unix/{unix}
    reverse_proxy /tls* https://127.0.0.1:{tls} {{
        header_up Host {{host}}:{{port}}
        transport http {{
            tls_trusted_ca_certs {certificates.ca_file}
            tls_server_name localhost
        }}
    }}
    reverse_proxy /gone unix/{folder}/gone.sock
    reverse_proxy 127.0.0.1:{tcp}
}}
http://127.0.0.1:{port}, http://localhost:{port} {{
    bind 127.0.0.1
    import sites
}}
https://127.0.0.1:{tls_port}, https://localhost:{tls_port} {{
    bind 127.0.0.1
    tls {certificates.cert_file} {certificates.key_file}
    import sites
}}
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """Where servers behind a proxy listen: they come and go with the tests, these places stay."""

    tcp: socket.socket
    tls: socket.socket
    unix: Path


@dataclass(frozen=True, slots=True)
class Hop:
    """A running proxy."""

    name: str
    port: int
    tls_port: int
    behind: Behind

    def uri(self, scheme: str, path: str = "/") -> str:
        """The URI of the proxy."""
        return f"{scheme}://{self.authority(scheme)}{path}"

    def authority(self, scheme: str) -> str:
        """Host and port of the proxy."""
        return f"localhost:{self.tls_port if scheme in ('wss', 'https') else self.port}"


def _listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@contextmanager
def hop(name: str, folder: Path, certificates: Certificates) -> Iterator[Hop]:
    """Run nginx or Caddy."""
    program = find(name)
    port, tls_port = free_port(), free_port()
    with ExitStack() as stack:
        behind = Behind(
            stack.enter_context(_listening()), stack.enter_context(_listening()), folder / "unix.sock"
        )
        values = {
            "folder": folder,
            "port": port,
            "tls_port": tls_port,
            "certificates": certificates,
            "tcp": behind.tcp.getsockname()[1],
            "tls": behind.tls.getsockname()[1],
            "unix": behind.unix,
            # Its workers would change to a user that cannot enter the folder.
            "user": "user root;" if os.geteuid() == 0 else "",
        }
        config = folder / f"{name}.conf"
        config.write_text((NGINX if name == "nginx" else CADDY).format(**values))
        if name == "nginx":
            command = [program, "-e", "stderr", "-p", folder, "-c", config]
        else:
            command = [program, "run", "--config", config, "--adapter", "caddyfile"]
        env = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
        running = stack.enter_context(daemon(command, folder / f"{name}.log", port=port, env=env))
        running.wait_for_port(tls_port)
        yield Hop(name, port, tls_port, behind)
