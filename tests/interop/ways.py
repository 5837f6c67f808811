"""Forward proxies for everwire.connect to go through: squid, tinyproxy, microsocks and Dante."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import quote

from conftest import Certificates
from live import HOST

from interop.programs import daemon, find, free_port, missing

USER, PASSWORD = "näme", "p@ss: wörd/%"
"""With all that is hard about a name and a password."""

SOCKS_USER, SOCKS_PASSWORD = "name", "p@ss: word/%"
"""The same in ASCII, which is all that python-socks can send."""

PLAIN_USER, PLAIN_PASSWORD = "name", "password7"
"""What tinyproxy can have in its configuration."""

OUTGOING = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""The address that the proxies connect from, so that a server knows who has come; other systems lack it."""

NAME = "everwire.test"
"""A host that only the proxy squid can resolve."""

FORBIDDEN = "forbidden.test"
"""A host that squid does not connect to."""

SQUID = """
http_port 127.0.0.1:{port}
http_port 127.0.0.1:{auth_port}
https_port 127.0.0.1:{tls_port} tls-cert={folder}/cert.pem tls-key={folder}/key.pem
tcp_outgoing_address {outgoing}
hosts_file {folder}/hosts
pid_filename none
access_log none
cache_log {folder}/cache.log
coredump_dir {folder}
cache deny all
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 1024
auth_param basic program {ncsa} {folder}/passwords
auth_param basic utf8 on
auth_param basic realm everwire
acl known proxy_auth REQUIRED
acl needs_auth localport {auth_port}
acl forbidden dstdomain {forbidden}
http_access deny forbidden
http_access deny needs_auth !known
http_access allow all
"""

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Bind {outgoing}
Allow 127.0.0.1
Timeout 60
MaxClients 20
{auth}
"""

DANTE = """
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""


Uris = dict[str, str]
"""The URIs of proxies by what tests call them."""


def _credentials(user: str, password: str) -> str:
    return f"{quote(user, safe='')}:{quote(password, safe='')}@"


@contextmanager
def squid(_: Path, certificates: Certificates) -> Iterator[Uris]:
    """Run squid."""
    program = find("squid")
    near = Path(program).resolve().parents[1] / "libexec"
    folders = [near, *map(Path, ("/usr/lib/squid", "/usr/lib64/squid", "/usr/libexec/squid"))]
    ncsa = next((each / "basic_ncsa_auth" for each in folders if (each / "basic_ncsa_auth").exists()), None)
    if ncsa is None:
        missing("basic_ncsa_auth, which comes with squid")
    port, auth_port, tls_port = free_port(), free_port(), free_port()
    # It does not run as root, and changes to a user that cannot enter the folders of pytest.
    with tempfile.TemporaryDirectory(prefix="everwire-squid-") as name:
        folder = Path(name)
        config = SQUID.format(
            port=port,
            auth_port=auth_port,
            tls_port=tls_port,
            folder=folder,
            ncsa=ncsa,
            outgoing=OUTGOING,
            forbidden=FORBIDDEN,
        )
        (folder / "squid.conf").write_text(config)
        (folder / "hosts").write_text(f"127.0.0.1 localhost {NAME} {FORBIDDEN}\n")
        (folder / "passwords").write_text(f"{USER}:{hashlib.md5(PASSWORD.encode()).hexdigest()}\n")
        (folder / "cert.pem").write_bytes(certificates.cert_file.read_bytes())
        (folder / "key.pem").write_bytes(certificates.key_file.read_bytes())
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.chmod(0o777 if os.geteuid() == 0 else 0o755)
        command = [program, "-N", "-d", "1", "-f", folder / "squid.conf"]
        with daemon(command, folder / "squid.log", port=port) as running:
            running.wait_for_port(auth_port)
            running.wait_for_port(tls_port)
            yield {
                "squid": f"http://{HOST}:{port}",
                "squid-auth": f"http://{_credentials(USER, PASSWORD)}{HOST}:{auth_port}",
                "squid-tls": f"https://localhost:{tls_port}",
            }


@contextmanager
def tinyproxy(folder: Path, _: Certificates) -> Iterator[Uris]:
    """Run tinyproxy for everybody."""
    with _tinyproxy(folder, "") as port:
        yield {"tinyproxy": f"http://{HOST}:{port}"}


@contextmanager
def tinyproxy_auth(folder: Path, _: Certificates) -> Iterator[Uris]:
    """Run tinyproxy for those who know the password."""
    with _tinyproxy(folder, f"BasicAuth {PLAIN_USER} {PLAIN_PASSWORD}") as port:
        yield {"tinyproxy-auth": f"http://{_credentials(PLAIN_USER, PLAIN_PASSWORD)}{HOST}:{port}"}


@contextmanager
def _tinyproxy(folder: Path, lines: str) -> Iterator[int]:
    port = free_port()
    config = folder / "tinyproxy.conf"
    config.write_text(TINYPROXY.format(port=port, outgoing=OUTGOING, auth=lines))
    with daemon([find("tinyproxy"), "-d", "-c", config], folder / "tinyproxy.log", port=port):
        yield port


@contextmanager
def microsocks(folder: Path, _: Certificates) -> Iterator[Uris]:
    """Run microsocks for everybody."""
    with _microsocks(folder) as port:
        yield {f"microsocks-{scheme}": f"{scheme}://{HOST}:{port}" for scheme in ("socks5", "socks5h")}


@contextmanager
def microsocks_auth(folder: Path, _: Certificates) -> Iterator[Uris]:
    """Run microsocks for those who know the password."""
    with _microsocks(folder, "-u", SOCKS_USER, "-P", SOCKS_PASSWORD) as port:
        yield {"microsocks-auth": f"socks5://{_credentials(SOCKS_USER, SOCKS_PASSWORD)}{HOST}:{port}"}


@contextmanager
def _microsocks(folder: Path, *options: str) -> Iterator[int]:
    port = free_port()
    command = [find("microsocks"), "-i", HOST, "-p", f"{port}", "-b", OUTGOING, *options]
    with daemon(command, folder / "microsocks.log", port=port):
        yield port


@contextmanager
def dante(folder: Path, _: Certificates) -> Iterator[Uris]:
    """Run Dante."""
    port = free_port()
    config = folder / "danted.conf"
    config.write_text(DANTE.format(port=port))
    command = [find("danted", "sockd"), "-f", config, "-p", folder / "danted.pid"]
    with daemon(command, folder / "danted.log", port=port):
        yield {f"dante-{scheme}": f"{scheme}://{HOST}:{port}" for scheme in ("socks4", "socks5", "socks5h")}


PROGRAMS: dict[str, Callable[[Path, Certificates], AbstractContextManager[Uris]]] = {
    "squid": squid,
    "squid-auth": squid,
    "squid-tls": squid,
    "tinyproxy": tinyproxy,
    "tinyproxy-auth": tinyproxy_auth,
    "microsocks-socks5": microsocks,
    "microsocks-socks5h": microsocks,
    "microsocks-auth": microsocks_auth,
    "dante-socks4": dante,
    "dante-socks5": dante,
    "dante-socks5h": dante,
}
"""What has to be run for a URI."""
