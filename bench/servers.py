"""A Postgres that flushes and a Redis, in folders of their own, for gateways that share them."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

PATHS = f"{os.environ.get('PATH', '')}:/usr/lib/postgresql/15/bin:/usr/sbin"
# Postgres does not run as root; then it runs as `nobody`.
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def missing() -> str | None:
    """A program that is needed and not there."""
    return next((name for name in ("initdb", "postgres", "redis-server") if not shutil.which(name, path=PATHS)), None)


class Servers:
    """Both, until `stop`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="toolgate-bench-"))
        if NOBODY:
            os.chown(self.folder, 65534, 65534)
        self.redis_port, self.processes = free_port(), []
        data = self.folder / "data"
        self.run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={data}").wait(60)
        self.postgres = self.start(
            "postgres", "-D", str(data), "-k", str(self.folder), "-c", "listen_addresses=", "-c", "max_connections=200",
            "-c", "shared_buffers=256MB",
        )
        self.redis = self.start("redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if (self.folder / ".s.PGSQL.5432").exists() and is_open(self.redis_port):
                return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"Postgres and Redis do not start, see {self.folder}")

    def environment(self, database: str) -> dict[str, str]:
        """Settings of a gateway on a database of its own, which is made anew."""
        host = str(self.folder).replace("/", "%2F")
        for statement in (f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}"):
            done = self.run("psql", "-h", str(self.folder), "-U", "postgres", "-qc", statement)
            assert done.wait(60) == 0, statement
        return {
            "TOOLGATE_STORE_URL": f"postgres://postgres@{host}/{database}",
            "TOOLGATE_COUNTERS_URL": f"redis://127.0.0.1:{self.redis_port}",
        }

    def start(self, *command: str) -> subprocess.Popen:
        process = self.run(*command)
        self.processes.append(process)
        return process

    def run(self, program: str, *arguments: str) -> subprocess.Popen:
        log = (self.folder / "log").open("ab")
        command = [shutil.which(program, path=PATHS), *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **NOBODY)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False
