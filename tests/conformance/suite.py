"""Runs the official suite and reads what it says. It is a Node program; its findings are files."""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SCENARIO_MS = 120_000  # how long one scenario may take; the suite's own 30 s are too short for a busy machine
RUN_S = 900

# (scenario, check, status) and how often: some checks are made several times under one name.
Findings = collections.Counter


class Suite:
    """The installed suite."""

    def __init__(self, packages: pathlib.Path, results: pathlib.Path):
        machine = {"x86_64": "x64", "aarch64": "arm64"}[os.uname().machine]
        self.node = packages / f"node_modules/node-linux-{machine}/bin/node"
        self.script = packages / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
        self.results = results

    def server(self, name: str, url: str, version: str, key: str | None, scenario: str | None = None) -> Findings:
        """The suite as a client of the server at `url`; all scenarios of a version, or one."""
        arguments = ["server", "--url", url, *(["--scenario", scenario] if scenario else ["--suite", "all"])]
        flags, environment = [], {}
        if key is not None:
            flags = ["--import", str(HERE / "with-key.mjs")]
            environment = {"CONFORMANCE_GATEWAY": url, "CONFORMANCE_KEY": key}
        return self._run(name, version, flags, arguments, environment)

    def client(self, name: str, version: str, scenario: str, home: pathlib.Path | None) -> Findings:
        """The suite as a server for our client, through a gateway where there is a home for one."""
        command = f"{sys.executable} {HERE / 'client.py'}"
        environment = {} if home is None else {"CONFORMANCE_HOME": str(home)}
        return self._run(name, version, [], ["client", "--command", command, "--scenario", scenario], environment)

    def client_scenarios(self, version: str) -> list[str]:
        """Those that are about the protocol. At a gateway the client logs in with the gateway, not with the upstream, so
        the scenarios about OAuth have nothing to look at."""
        said = self._node([], ["list", "--client", "--spec-version", version], {}).stdout
        found = re.findall(r"^ +- (\S+)", said, re.MULTILINE)
        assert found, said
        return [scenario for scenario in found if not scenario.startswith("auth/")]

    def _run(self, name, version, flags, arguments, environment) -> Findings:
        results = self.results / name
        shutil.rmtree(results, ignore_errors=True)
        arguments = [*arguments, "--spec-version", version, "--timeout", str(SCENARIO_MS), "-o", str(results)]
        done = self._node(flags, arguments, environment)
        # It ends with 1 as soon as one check fails; what that means is for the comparison to say.
        assert done.returncode in (0, 1), f"{name}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        findings = Findings()
        for file in results.glob("**/checks.json"):
            # A folder is named after its scenario and the time.
            scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", str(file.parent.relative_to(results)))
            for check in json.loads(file.read_text()):
                if check["status"] != "INFO":  # a log of what went over the wire, not a finding
                    findings[scenario.removeprefix("server-"), check["id"], check["status"]] += 1
        assert findings, f"{name}: the suite found nothing\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return findings

    def _node(self, flags, arguments, environment) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.node, *flags, self.script, *arguments],
            env={**os.environ, **environment}, capture_output=True, text=True, timeout=RUN_S, check=False,
        )
