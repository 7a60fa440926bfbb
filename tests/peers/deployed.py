"""What `deploy` and the Dockerfile say, read as a container engine reads it, and the servers that it names: real ones,
on this machine. Addresses and paths are put in place of the containers'; nothing else is changed."""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile

import trustme
import yaml

from processes import PATIENCE, free_port, stop, wait_for_port, wait_until
from servers import PEERS, running
from web_servers import LIBRARIES

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DEBIAN = PEERS / "debian"
POSTGRES = DEBIAN / "usr/lib/postgresql/15/bin"
# Postgres does not run as root; then it runs as this user.
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def compose(variables: dict[str, str]) -> dict:
    """compose.yaml with its variables filled in, as `docker compose config` gives it."""
    def filled(match: re.Match) -> str:
        whole, name, kind, rest = match[0], match[1], match[2], match[3]
        if whole == "$$":
            return "$"
        if value := variables.get(name):
            return value
        assert kind == "-", f"{name} must be set: {rest}"
        return rest

    def fill(value):
        match value:
            case str():
                return re.sub(r"\$\$|\$\{(\w+):([-?])([^}]*)\}", filled, value)
            case dict():
                return {name: fill(inner) for name, inner in value.items()}
            case list():
                return [fill(inner) for inner in value]
        return value

    return fill(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def manifests() -> dict[tuple[str, str], dict]:
    """The Kubernetes objects by kind and name."""
    files = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    objects = [one for file in files for one in yaml.safe_load_all((KUBERNETES / file).read_text())]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def environment_file(file: pathlib.Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def image() -> dict:
    """What the Dockerfile's last stage says of the process: its environment, its commands."""
    text = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    lines = [line.split(" ", 1) for line in text.splitlines()[1:] if line and not line.startswith("#")]
    said = dict(line for line in lines if len(line) == 2)
    return {
        "environment": dict(word.split("=", 1) for word in shlex.split(said["ENV"])),
        "entrypoint": yaml.safe_load(said["ENTRYPOINT"]),
        "command": yaml.safe_load(said["CMD"]),
        "health": yaml.safe_load(said["HEALTHCHECK"].rpartition(" CMD ")[2]),
        "user": said["USER"],
    }


def put_in_place(text: str, places: dict[str, str]) -> str:
    """A text with this machine's addresses and paths for those of containers."""
    for container, here in places.items():
        text = text.replace(container, here)
    return text


@contextlib.contextmanager
def postgres(log: pathlib.Path, password: str, authority: trustme.CA):
    """A server that wants this password of `toolgate`, and flushes, with a certificate of this authority; its port. None where
    it cannot run."""
    program = str(POSTGRES / "initdb")
    environment = {**os.environ, **LIBRARIES}
    look = subprocess.run([program, "--version"], env=environment, capture_output=True, cwd="/", **NOBODY) if POSTGRES.exists() else None
    if look is None or look.returncode != 0:
        yield None
        return
    # Not below pytest's folders, which are for their owner alone.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="toolgate-postgres-"))
    word, certificate, key = folder / "password", folder / "server.pem", folder / "server.key"
    issued = authority.issue_cert("127.0.0.1")
    word.write_text(password)
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    if NOBODY:
        for path in [folder, word, certificate, key]:
            os.chown(path, 65534, 65534)
    data, port = folder / "data", free_port()
    made = subprocess.run(
        [program, "--username=toolgate", "--auth=scram-sha-256", f"--pwfile={word}", "--no-sync", "--encoding=UTF8",
         "--locale=C.UTF-8", f"--pgdata={data}"],
        env=environment, capture_output=True, text=True, cwd=folder, timeout=PATIENCE, **NOBODY,
    )
    assert made.returncode == 0, made.stderr
    output = log.open("wb")
    process = subprocess.Popen(
        [str(POSTGRES / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_buffers=32MB",
         "-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}"],
        env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, **NOBODY,
    )
    try:
        wait_for_port(port, process, log)
        yield port
    finally:
        # SIGTERM would wait for clients; this ends its own processes too.
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)
        output.close()
        shutil.rmtree(folder)


def database(port: int, name: str, password: str) -> None:
    """An empty database; the server may still be starting."""
    def made() -> bool:
        done = subprocess.run(
            [str(POSTGRES / "createdb"), "--host=127.0.0.1", f"--port={port}", "--username=toolgate", name],
            env={**os.environ, **LIBRARIES, "PGPASSWORD": password}, capture_output=True, timeout=PATIENCE,
        )
        return done.returncode == 0

    wait_until(made, f"the database {name}")


@contextlib.contextmanager
def valkey(service: dict, folder: pathlib.Path, places: dict[str, str]):
    """The counting server as compose starts it, by a Redis under Valkey's name; its port."""
    folder.mkdir()
    programs = folder / "bin"
    programs.mkdir()
    (programs / "valkey-server").symlink_to(DEBIAN / "usr/bin/redis-server")
    port = free_port()
    here = {**places, "dir /tmp": f"dir {folder}\nbind 127.0.0.1\nport {port}"}
    command = [put_in_place(word, here) for word in service["entrypoint"] + service["command"]]
    environment = {**LIBRARIES, "PATH": f"{programs}:{os.environ['PATH']}"}
    with running(command, port, folder / "log", environment):
        yield port


@contextlib.contextmanager
def haproxy(folder: pathlib.Path, places: dict[str, str], port: int):
    """HAProxy on deploy/haproxy.cfg, from when it listens until the block ends."""
    folder.mkdir()
    config = folder / "haproxy.cfg"
    config.write_text(put_in_place((DEPLOY / "haproxy.cfg").read_text(), places))
    program = str(DEBIAN / "usr/sbin/haproxy")
    with running([program, "-db", "-f", str(config)], port, folder / "log", LIBRARIES):
        yield folder / "log"


class Container:
    """What would run in a container: a command of the image with an environment, and what becomes of it."""

    def __init__(self, binary: str, environment: dict[str, str], log: pathlib.Path):
        self.words = [binary if word == "toolgate" else word for word in image()["entrypoint"]]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TOOLGATE_")}
        self.environment = {**clean, **environment}
        self.log, self.process = log, None

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        return subprocess.run(
            [*self.words, *arguments], env=self.environment, input=stdin, capture_output=True, text=True,
            timeout=PATIENCE, cwd="/",
        )

    def ok(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.words, *image()["command"]], env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, cwd="/",
            )

    def is_healthy(self) -> bool:
        """What the image's HEALTHCHECK says."""
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        return self.run(*image()["health"][1:]).returncode == 0

    def wait_healthy(self) -> None:
        wait_until(self.is_healthy, f"{self.log.name}: healthy")

    def end(self) -> None:
        """However the test went, nothing of it stays."""
        if self.process is not None:
            stop(self.process)
