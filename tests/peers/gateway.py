"""One gateway in a home of its own, driven only by what its users have: the binary, its files, its ports."""

import contextlib
import json
import os
import pathlib
import subprocess
import urllib.request

from processes import PATIENCE, descendants, free_port, running, stop, wait_for_port, wait_until

BINARY = os.environ.get("TOOLGATE_BIN", "")

# High enough that no test meets a limit by accident; tests of limits bring their own.
NO_LIMITS = """\
limits:
  per_key: 100000/1m
  per_tool: 100000/1m
  housekeeping: 100000/1m
  refusals: 100000/1m
"""


class Gateway:
    """A home and, once started, the process that serves it."""

    def __init__(self, home: pathlib.Path, policy: str | None, services: str, settings: str = "", tls=None, hold="25s"):
        """A home made by `init`; without a policy it keeps the starter.

        `settings` are more lines of toolgate.yaml. `hold` is how long a held call keeps its connection. `tls` is (certificate file, key file, context that trusts it).
        """
        assert BINARY, "TOOLGATE_BIN must name the gateway; `cargo xtask test` sets it"
        self.home = home
        self.port, self.console_port = free_port(), free_port()
        self.log = home.with_suffix(".log")
        self.process = None
        self.run("init")
        certificate = f", tls: {{ cert: {tls[0]}, key: {tls[1]} }}" if tls else ""
        self.scheme, self.trust = ("https", tls[2]) if tls else ("http", None)
        (home / "toolgate.yaml").write_text(
            f"gateway: {{ listen: 127.0.0.1:{self.port}, hold: {hold}{certificate} }}\n"
            f"console: {{ listen: 127.0.0.1:{self.console_port} }}\n{settings}"
        )
        if policy is not None:
            (home / "policy.yaml").write_text(policy)
        self.run("policy", "check")
        self.apply(services)

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def url(self, service: str) -> str:
        """The MCP endpoint of one service."""
        return f"{self.address}/mcp/{service}"

    def api(self, service: str, path: str = "") -> str:
        """The HTTP endpoint of one service."""
        return f"{self.address}/http/{service}{path}"

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        """Runs one command on this home; what it says on stdout."""
        done = self.attempt(*arguments)
        assert done.returncode == exit_code, f"toolgate {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def attempt(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        """Runs one command on this home, however it ends."""
        return subprocess.run(
            [BINARY, *arguments, "--home", str(self.home)],
            input=stdin, capture_output=True, text=True, timeout=PATIENCE, env=clean_environment(),
        )

    def credential(self, service: str, name: str, value: str) -> None:
        """Sets a credential's value, which only ever comes from stdin."""
        done = self.attempt("credentials", "set", service, name, stdin=value + "\n")
        assert done.returncode == 0, done.stdout + done.stderr

    def apply(self, services: str) -> str:
        """Declares services."""
        file = self.home.with_suffix(".services.yaml")
        file.write_text(services)
        return self.run("services", "apply", "-f", str(file))

    def key(self, agent: str, role: str, *services: str) -> str:
        """Makes an agent and a key for it."""
        key = self.run("keys", "create", agent, "--role", role, "--scope", ",".join(services))
        assert key.startswith("agt_") and key.count("\n") == 1, f"not a key alone on stdout: {key!r}"
        return key.strip()

    def events(self, **filters: str) -> list[dict]:
        """The trail as `audit list --json` gives it, oldest first.

        What nobody waits for (outcomes, refusals) gets there a moment after its answer: see `recorded`.
        """
        flags = [word for name, value in filters.items() for word in (f"--{name}", value)]
        # Not `splitlines`: texts inside JSON may hold what Unicode calls a line break.
        lines = self.run("audit", "list", "--json", "--limit", "10000", *flags).split("\n")
        return sorted((json.loads(line) for line in lines if line), key=lambda event: event["seq"])

    def recorded(self, count: int, kinds: tuple[str, ...] = ("intent", "outcome", "refusal"), **filters: str) -> list[dict]:
        """The events of these kinds, as soon as there are `count` of them; one more is a failure."""
        found = []

        def there() -> bool:
            found[:] = [event for event in self.events(**filters) if event["kind"] in kinds]
            return len(found) >= count

        wait_until(there, f"{count} events in the trail")
        assert len(found) == count, found
        return found

    def recorded_call(self, call: str, count: int) -> list[dict]:
        """The events of one call, as soon as there are `count` of them."""
        def there() -> list[dict] | None:
            found = [event for event in self.events() if event.get("call_id") == call]
            return found if len(found) >= count else None

        found = wait_until(there, f"{count} events of {call}")
        assert len(found) == count, found
        return found

    def start(self) -> None:
        """Serves the home from now on; returns when it takes calls."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--home", str(self.home)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=clean_environment(),
            )
        wait_for_port(self.port, self.process, self.log)
        wait_until(self.ready, "/readyz answers 200")

    def ready(self) -> bool:
        """Whether the gateway says that it takes calls."""
        try:
            return urllib.request.urlopen(f"{self.address}/readyz", timeout=PATIENCE, context=self.trust).status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM must drain and end with 0, and leave no child behind."""
        if self.process is None:
            return
        children = descendants(self.process.pid)
        code = stop(self.process)
        self.process = None
        wait_until(lambda: not running(children), f"the end of what the gateway started: {children}")
        assert code == 0, f"serve ended with {code}: {self.log.read_text(errors='replace')[-2000:]}"


def clean_environment() -> dict[str, str]:
    """The environment without settings meant for another gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOOLGATE_")}


@contextlib.contextmanager
def serving(home: pathlib.Path, policy: str | None, services: str, credentials: dict | None = None, **options):
    """A gateway that serves until the block ends, with the value of each (service, credential)."""
    gateway = Gateway(home, policy, services, **options)
    for (service, name), value in (credentials or {}).items():
        gateway.credential(service, name, value)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.stop()
