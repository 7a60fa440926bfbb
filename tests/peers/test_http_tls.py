"""TLS on both sides: an upstream with an authority of its own, client certificates, and HTTP/2 from end to end."""

import contextlib
import datetime
import ssl

import httpx
import pytest
import trustme

import gateway as gateways
import web_servers
from processes import PATIENCE
from recorder import Recorder

SECRET = "sk_tls_0123456789abcdef"
SERVICES = ["trusting", "doubting", "expired", "misnamed", "presenting"]


def rules() -> str:
    allowed = "".join(f'      - {{ service: {name}, requests: ["* /v1/**"] }}\n' for name in SERVICES)
    return f"version: 1\nroles:\n  user:\n    allow:\n{allowed}{gateways.NO_LIMITS}"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def folder(work):
    folder = work / "certificates"
    folder.mkdir()
    return folder


def written(certificate: trustme.LeafCert, file) -> str:
    """The chain and its key in one file."""
    certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
    file.chmod(0o600)
    return str(file)


@pytest.fixture(scope="module")
def behind():
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def servers(work, folder, authority, behind):
    """nginx with a good certificate, one that has expired, and one for another name."""
    ca = str(folder / "ca.pem")
    authority.cert_pem.write_to_path(ca)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    certificates = {
        "good": authority.issue_cert("localhost", "127.0.0.1"),
        "expired": authority.issue_cert("localhost", not_after=yesterday),
        "misnamed": authority.issue_cert("elsewhere.test"),
    }
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                web_servers.nginx(work / f"tls-{name}", behind.port, written(certificate, folder / f"{name}.pem"), ca)
            )
            for name, certificate in certificates.items()
        }


@pytest.fixture(scope="module")
def gateway(work, folder, authority, servers):
    """A gateway whose own listener speaks TLS as well."""
    own = written(authority.issue_cert("127.0.0.1", "localhost"), folder / "gateway.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    urls = {
        "trusting": servers["good"], "doubting": servers["good"], "expired": servers["expired"],
        "misnamed": servers["misnamed"], "presenting": servers["good"],
    }
    kinds = dict.fromkeys(SERVICES, "bearer") | {"presenting": "client_certificate"}
    services = "services:\n" + "".join(
        f'  - {{ name: {name}, kind: http, url: "{server.tls_url}", network: private,'
        + ("" if name == "doubting" else f" ca: {folder}/ca.pem,")
        + f" credentials: [{{ name: secret, kind: {kinds[name]} }}] }}\n"
        for name, server in urls.items()
    )
    client = authority.issue_cert("agent@example.com", common_name="the gateway")
    values = {(name, "secret"): SECRET for name in SERVICES}
    values["presenting", "secret"] = client.private_key_and_cert_chain_pem.bytes().decode()
    with gateways.serving(work / "tls-home", rules(), services, values, tls=(own, own, trust)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway) -> str:
    return gateway.key("laptop", "user", *SERVICES)


@pytest.mark.parametrize("http2", [True, False])
def test_a_service_with_an_authority_of_its_own_is_reached(gateway, servers, behind, key, http2):
    before = len(servers["good"].lines())
    with httpx.Client(http2=http2, verify=gateway.trust, timeout=PATIENCE) as client:
        answer = client.post(
            gateway.api("trusting", "/v1/notes?a=%2F"), json={"n": 1}, headers={"Authorization": f"Bearer {key}"}
        )
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
    assert behind.last().header("authorization") == f"Bearer {SECRET}"
    assert servers["good"].logged(before) in ("POST /v1/notes?a=%2F HTTP/2.0", "POST /v1/notes?a=%2F HTTP/1.1")
    assert behind.last().body == b'{"n":1}'


def test_many_requests_share_one_http2_connection(gateway, behind, key):
    seen = len(behind.seen)
    with httpx.Client(http2=True, verify=gateway.trust, timeout=PATIENCE) as client:
        for number in range(20):
            answer = client.get(gateway.api("trusting", f"/v1/{number}"), headers={"X-API-Key": key})
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert [request.target for request in behind.seen[seen:]] == [f"/v1/{number}" for number in range(20)]


@pytest.mark.parametrize("service", ["doubting", "expired", "misnamed"])
def test_a_server_that_cannot_prove_who_it_is_gets_nothing(gateway, behind, key, service):
    seen = len(behind.seen)
    answer = httpx.get(gateway.api(service, "/v1/notes"), headers={"X-API-Key": key}, verify=gateway.trust, timeout=PATIENCE)
    assert (answer.status_code, answer.headers["X-Proxy-Status"]) == (502, "upstream-error"), answer.text
    assert "Nothing was sent" in answer.text
    assert SECRET not in answer.text and "localhost" not in answer.text
    assert len(behind.seen) == seen


def test_a_client_certificate_is_presented(gateway, behind, key):
    answer = httpx.get(gateway.api("presenting", "/v1/notes"), headers={"X-API-Key": key}, verify=gateway.trust, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    assert "the gateway" in behind.last().header("x-client")
    other = httpx.get(gateway.api("trusting", "/v1/notes"), headers={"X-API-Key": key}, verify=gateway.trust, timeout=PATIENCE)
    assert other.status_code == 200
    assert not behind.last().header("x-client"), "another service's connection must not carry it"
