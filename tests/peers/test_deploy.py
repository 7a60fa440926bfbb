"""The files below `deploy` do what they say: gateways start with exactly the settings in them, behind that proxy, and one
may end at any moment."""

import collections
import json
import os
import pathlib
import re
import signal
import ssl
import threading
import time
import tomllib

import httpx
import pytest
import trustme
import yaml

import deployed
import gateway as gateways
from deployed import DEPLOY, KUBERNETES, Container
from processes import PATIENCE, free_port, wait_until
from recorder import Recorder

PASSWORDS = {"store": "p@ss w/rd:1", "counters": "4f1d0e"}
# What a stop takes after `gateway.shutdown_delay`, at most: `Running::stop`.
STOP_MAX = 45
AGENTS = 4
# What a gateway answers that gets no time from its machine: nothing was sent, and the agent is told to repeat the call.
STARVED = {f"urn:toolgate:{code}" for code in ["counters-unavailable", "stale-authorization", "store-unavailable", "audit-unavailable"]}

POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: web, requests: ["* /v1/**"], risk: ignore }
""" + gateways.NO_LIMITS


@pytest.fixture(scope="module")
def authority():
    """Who vouches for Postgres."""
    return trustme.CA()


@pytest.fixture(scope="module")
def servers(tmp_path_factory, authority):
    """A Postgres and a counting server with passwords, and where things are on this machine."""
    folder = tmp_path_factory.mktemp("deploy")
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "postgres_password").write_text(PASSWORDS["store"] + "\n")
    (secrets / "valkey_password").write_text(PASSWORDS["counters"])
    places = {"/run/secrets": str(secrets)}
    with deployed.postgres(folder / "postgres.log", PASSWORDS["store"], authority) as postgres:
        if postgres is None:
            pytest.skip("the user `nobody` cannot reach target/peers/debian")
        with deployed.valkey(composed()["services"]["valkey"], folder / "valkey", places) as valkey:
            places |= {"@postgres/": f"@127.0.0.1:{postgres}/", "//valkey/": f"//127.0.0.1:{valkey}/"}
            yield postgres, valkey, places


def composed(port: int = 443) -> dict:
    # `env.example` names what must be filled in, and nothing in it is a value already.
    variables = deployed.environment_file(DEPLOY / "env.example")
    assert variables == {"GATEWAY_URL": "", "CONSOLE_URL": ""}
    with pytest.raises(AssertionError, match="GATEWAY_URL must be set"):
        deployed.compose(variables)
    return deployed.compose({"GATEWAY_URL": f"https://localhost:{port}", "CONSOLE_URL": f"https://localhost:{port}"})


class Load:
    """Agents that call all the time, each call with a number of its own."""

    def __init__(self, url: str, keys: list[str], trust: ssl.SSLContext):
        self.answers: list[tuple[str, int | str]] = []
        self._going, self._number, self._lock = True, 0, threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(url, key, trust)) for key in keys]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._going = False
        for thread in self._threads:
            thread.join(PATIENCE)

    def _call(self, url: str, key: str, trust: ssl.SSLContext) -> None:
        with httpx.Client(verify=trust, timeout=PATIENCE, headers={"Authorization": f"Bearer {key}"}) as client:
            while self._going:
                with self._lock:
                    self._number += 1
                    call = f"call-{self._number}"
                try:
                    response = client.post(f"{url}/http/web/v1/notes", json={"call": call})
                    answer = response.status_code
                    if answer == 503 and response.headers.get("X-Proxy-Status") == "fault" and response.json()["type"] in STARVED:
                        answer = "refused"
                except httpx.HTTPError as error:
                    answer = repr(error)
                self.answers.append((call, answer))
                time.sleep(0.05)

    def wait_for(self, more: int) -> None:
        """Returns when so many calls more were answered with 200."""
        wanted = self.good() + more
        wait_until(lambda: self.good() >= wanted, f"{more} more good calls: {self.answers[-5:]}")

    def good(self) -> int:
        return sum(1 for _, answer in self.answers if answer == 200)

    def bad(self) -> list[tuple[str, int | str]]:
        return [(call, answer) for call, answer in self.answers if answer not in (200, "refused")]


def test_compose_goes_on_when_a_gateway_ends(servers, tmp_path):
    postgres, _, places = servers
    port, people = free_port(), free_port()
    services = composed(port)["services"]
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    secrets = pathlib.Path(places["/run/secrets"])
    certificate.cert_chain_pems[0].write_to_path(secrets / "tls.pem")
    certificate.private_key_pem.write_to_path(secrets / "tls.pem.key")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    home, policy = tmp_path / "home", tmp_path / "policy"
    home.mkdir(mode=0o700)
    policy.mkdir()
    (policy / "policy.yaml").write_text(POLICY)
    listen = {
        name: {"8484": free_port(), "8485": free_port()} for name in ["gateway-1", "gateway-2"]
    }
    proxy = {":8443": f"127.0.0.1:{port}", ":8444": f"127.0.0.1:{people}", **places}
    for name, ports in listen.items():
        address = services[name]["networks"]["front"]["ipv4_address"]
        proxy |= {f"{address}:{at}": f"127.0.0.1:{here}" for at, here in ports.items()}

    def container(name: str) -> Container:
        service = services[name]
        said = {**deployed.image()["environment"], **service["environment"]}
        here = {**places, "/etc/toolgate": str(policy), "/var/lib/toolgate": str(home), "10.84.84.10": "127.0.0.1"}
        for at, this in listen.get(name, {}).items():
            here[f"0.0.0.0:{at}"] = f"127.0.0.1:{this}"
        environment = {key: deployed.put_in_place(value, here) for key, value in said.items()}
        assert environment.pop("PATH") == "/usr/local/bin"
        return Container(gateways.BINARY, environment, tmp_path / f"{name}.log")

    deployed.database(postgres, "toolgate", PASSWORDS["store"])
    init = container("init")
    assert services["init"]["command"] == ["init"]
    init.ok("init")
    assert "exists, left as it is" in init.ok("init"), "compose starts it again each time"
    made = {path.name: path.read_bytes() for path in home.iterdir()}
    assert "vault.key" in made
    shown = init.ok("config", "show")
    assert not any(word in shown for word in PASSWORDS.values()), shown

    with Recorder() as upstream:
        services_file = tmp_path / "services.yaml"
        services_file.write_text(f'services: [{{ name: web, kind: http, url: "{upstream.url}", network: private }}]\n')
        init.ok("services", "apply", "-f", str(services_file))
        keys = [init.ok("keys", "create", f"agent-{at}", "--role", "user", "--scope", "web").strip() for at in range(AGENTS)]
        pods = {name: container(name) for name in listen}
        try:
            for pod in pods.values():
                pod.start()
            for pod in pods.values():
                pod.wait_healthy()
            with deployed.haproxy(tmp_path / "haproxy", proxy, port) as log:
                with Load(f"https://localhost:{port}", keys, trust) as load:
                    load.wait_for(20)
                    used = {request.header("x-forwarded-for") for request in upstream.seen}
                    assert used == {None}, "what the proxy says of a source is not the upstream's to know"

                    # One is taken down: it says that it is not ready, takes calls until the proxy has seen it, and
                    # finishes what is under way. No agent notices.
                    first = pods[newest(log)]
                    first.process.send_signal(signal.SIGTERM)
                    wait_until(lambda: "/readyz says 503" in first.log.read_text(), "the stop to be told")
                    load.wait_for(20)
                    assert first.process.wait(PATIENCE) == 0, first.log.read_text()[-2000:]
                    load.wait_for(20)
                    assert load.bad() == []

                    # It comes back, and one dies in the middle of calls. What was on its way to it may be lost, and is
                    # not sent again by anybody; all else goes on.
                    first.start()
                    first.wait_healthy()
                    load.wait_for(20)
                    second = pods[newest(log)]
                    second.process.kill()
                    second.process.wait()
                    load.wait_for(40)
                assert len(load.bad()) <= 3 * AGENTS, load.bad()
                seen = collections.Counter(json.loads(request.body)["call"] for request in upstream.seen)
                assert max(seen.values()) == 1, [call for call, count in seen.items() if count > 1]
                assert all(seen[call] == (answer == 200) for call, answer in load.answers if answer in (200, "refused"))
                # An escape comes as the agent wrote it.
                url = f"https://localhost:{port}/http/web/v1/a%20b"
                assert httpx.get(url, verify=trust, headers={"X-API-Key": keys[0]}).status_code == 200
                assert upstream.last().target == "/v1/a%20b"
                page = httpx.get(f"https://localhost:{people}/login", verify=trust, headers={"Host": f"localhost:{port}"})
                assert page.status_code == 200 and "Toolgate" in page.text
        finally:
            for pod in pods.values():
                pod.end()
    assert {path.name: path.read_bytes() for path in home.iterdir()} == made, "gateways write nothing to the home"
    assert json.loads(init.ok("audit", "verify", "--json"))["ok"]


def newest(log: pathlib.Path) -> str:
    """The gateway that had the newest call."""
    return re.findall(r"^\S+ POST /http/\S+ .* (gateway-\d) ", log.read_text(errors="replace"), re.MULTILINE)[-1]


def test_kubernetes_gateways_start_at_once_on_an_empty_database(servers, authority, tmp_path):
    postgres, valkey, _ = servers
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    container = deployed.manifests()["Deployment", "toolgate"]["spec"]["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    secret, policy, home = tmp_path / "secret", tmp_path / "policy", tmp_path / "home"
    for made in [secret, policy, home]:
        made.mkdir()
    # The files that the kustomization names are those that the settings look for.
    (generator,) = kustomization["secretGenerator"]
    contents = {
        "vault.key": os.urandom(32),
        "store-password": PASSWORDS["store"].encode(),
        "counters-password": PASSWORDS["counters"].encode() + b"\n",
        "store-ca.pem": authority.cert_pem.bytes(),
    }
    for file in generator["files"]:
        path = secret / pathlib.Path(file).name
        path.write_bytes(contents.pop(path.name))
        path.chmod(0o600)
    assert not contents
    (named,) = [one["files"] for one in kustomization["configMapGenerator"] if one["name"] == "toolgate-policy"]
    for file in named:
        (policy / file).write_text((KUBERNETES / file).read_text())

    deployed.database(postgres, "kubernetes", PASSWORDS["store"])
    pods = []
    for at in range(3):
        here = {
            mounts["secret"]: str(secret),
            mounts["policy"]: str(policy),
            "@postgres.data.svc/toolgate": f"@127.0.0.1:{postgres}/kubernetes",
            "//valkey.data.svc/0": f"//127.0.0.1:{valkey}/1",
            "0.0.0.0:8484": f"127.0.0.1:{free_port()}",
            "0.0.0.0:8485": f"127.0.0.1:{free_port()}",
        }
        settings = deployed.environment_file(KUBERNETES / "settings.env")
        environment = {name: deployed.put_in_place(value, here) for name, value in settings.items()}
        pods.append(Container(gateways.BINARY, environment | {"TOOLGATE_HOME": str(home)}, tmp_path / f"pod-{at}.log"))
    assert container["args"] == deployed.image()["command"] and container["envFrom"] == [{"configMapRef": {"name": "toolgate-settings"}}]
    try:
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.wait_healthy()
        # A key that one makes is good at all of them: they share one vault and one pepper.
        key = pods[0].ok("keys", "create", "laptop", "--role", "user").strip()
        for pod in pods:
            answer = httpx.get(
                f"http://{pod.environment['TOOLGATE_GATEWAY_LISTEN']}/v1/services", headers={"Authorization": f"Bearer {key}"}
            )
            assert answer.status_code == 200, answer.text
        assert json.loads(pods[0].ok("audit", "verify", "--json"))["ok"]
        for pod in pods:
            pod.process.send_signal(signal.SIGTERM)
        for pod in pods:
            # The second signal is for those who do not want to wait.
            wait_until(lambda: "/readyz says 503" in pod.log.read_text(), "the stop to be told")
            pod.process.send_signal(signal.SIGTERM)
        for pod in pods:
            assert pod.process.wait(PATIENCE) == 0, pod.log.read_text()[-2000:]
    finally:
        for pod in pods:
            pod.end()
    assert not any(home.iterdir()), "a read-only root is enough"


def test_everything_leaves_a_gateway_the_time_that_it_takes_to_stop():
    def seconds(text: str) -> int:
        assert re.fullmatch(r"\d+s", text), text
        return int(text[:-1])

    for name in ["gateway-1", "gateway-2"]:
        service = composed()["services"][name]
        delay = seconds(service["environment"]["TOOLGATE_GATEWAY_SHUTDOWN_DELAY"])
        assert seconds(service["stop_grace_period"]) >= delay + STOP_MAX
    delay = seconds(deployed.environment_file(KUBERNETES / "settings.env")["TOOLGATE_GATEWAY_SHUTDOWN_DELAY"])
    pod = deployed.manifests()["Deployment", "toolgate"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= delay + STOP_MAX
    unit = (DEPLOY / "systemd/toolgate.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1]) >= STOP_MAX


def test_containers_may_do_nothing_but_their_work():
    user = deployed.image()["user"]
    for name, service in composed()["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"] and service["user"] not in ("", "0", "root"), name
        assert not any("PASSWORD" in key and not key.endswith("_FILE") for key in service.get("environment", {})), name
        reached = set(service["networks"])
        assert "edge" not in reached or name == "proxy", f"{name} is published"
        assert not {"edge", "data"} <= reached
    spec = deployed.manifests()["Deployment", "toolgate"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == user
    assert container["securityContext"]["readOnlyRootFilesystem"] and not spec["automountServiceAccountToken"]


def test_the_image_is_built_of_the_whole_workspace_and_of_nothing_else():
    members = tomllib.loads((deployed.ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    let_through = {line[1:] for line in (deployed.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_through == {member.split("/")[0] for member in members} | {"tests", "Cargo.toml", "Cargo.lock", "deploy/image.sh"}


def test_the_policies_to_begin_with_are_the_one_that_init_writes():
    starter = (deployed.ROOT / "crates/toolgate/assets/policy.yaml").read_text()
    assert (DEPLOY / "policy/policy.yaml").read_text() == starter
    assert (KUBERNETES / "policy.yaml").read_text() == starter
