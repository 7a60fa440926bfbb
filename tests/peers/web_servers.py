"""nginx, Apache and HAProxy in front of a recorder: what they log is how others read what the gateway sends.

They are unpacked below target/peers/debian and run in the foreground, on configurations and ports of the tests.
"""

import contextlib
import dataclasses
import os
import pathlib

import servers
from processes import free_port, wait_until

DEBIAN = servers.PEERS / "debian"
CURL = str(DEBIAN / "usr" / "bin" / "curl")
LIBRARIES = {"LD_LIBRARY_PATH": ":".join(str(path) for path in (DEBIAN / "usr" / "lib").glob("*-linux-gnu*"))}


@dataclasses.dataclass
class WebServer:
    """A server that passes everything on, and logs each request line as it read it."""

    url: str
    log: pathlib.Path
    tls_url: str = ""

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def logged(self, before: int) -> str:
        """The one request line since there were `before`; it is logged a moment after its answer."""
        wait_until(lambda: len(self.lines()) > before, "the request in the server's log")
        (line,) = self.lines()[before:]
        return line


@contextlib.contextmanager
def nginx(folder: pathlib.Path, behind: int, certificate=None, clients_ca: str = ""):
    """nginx before the port `behind`; with a certificate also over TLS, where it speaks HTTP/2.

    With a CA for clients it tells behind it, in X-Client, who they proved to be.
    """
    folder.mkdir()
    port, tls_port = free_port(), free_port()
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    tls = clients = ""
    if certificate:
        if clients_ca:
            clients = f"ssl_client_certificate {clients_ca}; ssl_verify_client optional;"
        tls = (
            f"server {{ listen 127.0.0.1:{tls_port} ssl http2; ssl_certificate {certificate};"
            f" ssl_certificate_key {certificate}; {clients}"
            f" location / {{ proxy_pass http://127.0.0.1:{behind};"
            f" proxy_set_header X-Client $ssl_client_s_dn; }} }}"
        )
    config = folder / "nginx.conf"
    config.write_text(f"""\
daemon off;
master_process off;
error_log stderr;
pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
  log_format seen '$request';
  access_log {folder}/access.log seen;
  {temporary}
  client_max_body_size 0;
  merge_slashes off;
  proxy_http_version 1.1;
  proxy_request_buffering off;
  proxy_buffering off;
  proxy_set_header Host $http_host;
  proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{behind}; }} }}
  {tls}
}}
""")
    with program("nginx", ["-c", str(config), "-p", str(folder), "-e", "stderr"], port, folder):
        yield WebServer(f"http://127.0.0.1:{port}", folder / "access.log", f"https://localhost:{tls_port}")


@contextlib.contextmanager
def apache(folder: pathlib.Path, behind: int):
    """Apache before the port `behind`."""
    folder.mkdir()
    port = free_port()
    modules = DEBIAN / "usr" / "lib" / "apache2" / "modules"
    loaded = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in ["mpm_event", "authz_core", "proxy", "proxy_http"]
    )
    config = folder / "apache.conf"
    config.write_text(f"""\
{loaded}
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/pid
Mutex pthread default
User www-data
Group www-data
Listen 127.0.0.1:{port}
ErrorLog {folder}/error.log
LogFormat "%r" seen
CustomLog {folder}/access.log seen
AllowEncodedSlashes NoDecode
ProxyRequests Off
ProxyPreserveHost On
ProxyAddHeaders Off
ProxyPass / http://127.0.0.1:{behind}/ nocanon
""")
    with program("apache2", ["-X", "-f", str(config)], port, folder):
        yield WebServer(f"http://127.0.0.1:{port}", folder / "access.log")


@contextlib.contextmanager
def haproxy(folder: pathlib.Path, behind: int):
    """HAProxy before the port `behind`."""
    folder.mkdir()
    port = free_port()
    config = folder / "haproxy.conf"
    config.write_text(f"""\
global
  log stdout format raw daemon
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
frontend before
  bind 127.0.0.1:{port}
  log global
  log-format "%rt %r"
  default_backend behind
backend behind
  server recorder 127.0.0.1:{behind}
""")
    with program("haproxy", ["-db", "-f", str(config)], port, folder):
        # A connection without a request, as the wait for the port makes, is logged as well.
        yield HaproxyLog(f"http://127.0.0.1:{port}", folder / "output.log")


class HaproxyLog(WebServer):
    """HAProxy's log is its stdout, among what else it says there; now and then it says a line twice."""

    def lines(self) -> list[str]:
        numbered = [line.partition(" ") for line in super().lines() if line.endswith((" HTTP/1.1", " HTTP/1.0"))]
        return list({number: line for number, _, line in numbered}.values())


@contextlib.contextmanager
def program(name: str, arguments: list[str], port: int, folder: pathlib.Path):
    """Runs a server of the Debian packages until the block ends."""
    path = DEBIAN / "usr" / "sbin" / name
    assert path.exists(), f"{path} is not there; cargo xtask peers"
    with servers.running([str(path), *arguments], port, folder / "output.log", LIBRARIES):
        yield


def curl_environment() -> dict[str, str]:
    return os.environ | LIBRARIES
