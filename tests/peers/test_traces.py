"""Traces reach a collector as OpenTelemetry's own protocol definition reads them, and upstreams are told of them."""

import re

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import gateway as gateways
from processes import PATIENCE, free_port, wait_until
from recorder import Answer, Arrived, Recorder

SECRET = "canary_credential_4f1c6b7a"
TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
POLICY = """\
version: 1
roles:
  user:
    allow:
      - { service: api, requests: ["GET /v1/**"] }
""" + gateways.NO_LIMITS


def services(upstream: Recorder) -> str:
    return f"""\
services:
  - name: api
    kind: http
    url: {upstream.url}
    network: private
    credentials:
      - {{ name: key, kind: bearer }}
"""


class Collector(Recorder):
    """Takes spans and reads them."""

    def spans(self) -> list[Span]:
        found = []
        for request in list(self.seen):
            assert (request.method, request.target) == ("POST", "/v1/traces")
            assert request.header("content-type") == "application/x-protobuf"
            message = ExportTraceServiceRequest.FromString(request.body)
            for resource in message.resource_spans:
                names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                assert names["service.name"] == "toolgate" and names["service.version"]
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found


def collecting() -> Collector:
    return Collector(lambda _: Answer(b"", media="application/x-protobuf"))


def attributes(span: Span) -> dict:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def of_call(collector: Collector, answer: httpx.Response, count: int) -> dict[int, Span]:
    """The spans of one call, by their kind."""
    call = answer.headers["x-call-id"]

    def there():
        found = {span.kind: span for span in collector.spans() if attributes(span)["toolgate.call.id"] == call}
        return found if len(found) >= count else None

    found = wait_until(there, f"{count} spans of {call}")
    assert len(found) == count
    return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A gateway with a collector, the collector, what stands behind it, and a key."""
    with collecting() as collector, Recorder(answering) as upstream:
        home = tmp_path_factory.mktemp("traces") / "home"
        settings = f"telemetry: {{ otlp: {collector.url} }}\n"
        with gateways.serving(home, POLICY, services(upstream), {("api", "key"): SECRET}, settings=settings) as gateway:
            yield gateway, collector, upstream, gateway.key("ada", "user", "api")


def answering(request: Arrived) -> Answer:
    return Answer(b"broken", status=503) if request.target.endswith("/broken") else Answer()


def get(gateway, key: str, path: str, **headers: str) -> httpx.Response:
    headers["authorization"] = f"Bearer {key}"
    return httpx.get(gateway.api("api", path), headers=headers, timeout=PATIENCE)


def test_a_call_is_part_of_its_clients_trace(traced):
    gateway, collector, upstream, key = traced
    answer = get(gateway, key, "/v1/things", traceparent=f"00-{TRACE}-{CLIENT}-01", tracestate="vendor=1")
    assert answer.status_code == 200
    spans = of_call(collector, answer, 2)
    ours, theirs = spans[Span.SPAN_KIND_SERVER], spans[Span.SPAN_KIND_CLIENT]
    assert {ours.trace_id.hex(), theirs.trace_id.hex()} == {TRACE}
    assert ours.parent_span_id.hex() == CLIENT and theirs.parent_span_id == ours.span_id
    sent = upstream.last()
    assert sent.header("traceparent") == f"00-{TRACE}-{theirs.span_id.hex()}-01"
    assert sent.header("tracestate") == "vendor=1"
    told = attributes(ours)
    assert told["http.response.status_code"] == 200 and told["toolgate.agent"] == "ada"
    assert (ours.name, told["http.request.method"], told["toolgate.result"]) == ("GET", "GET", "forwarded")
    assert ours.start_time_unix_nano <= theirs.start_time_unix_nano <= theirs.end_time_unix_nano <= ours.end_time_unix_nano


def test_a_call_without_a_trace_begins_one(traced):
    gateway, collector, upstream, key = traced
    answer = get(gateway, key, "/v1/things")
    spans = of_call(collector, answer, 2)
    assert spans[Span.SPAN_KIND_SERVER].parent_span_id == b""
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", upstream.last().header("traceparent"))
    assert upstream.last().header("tracestate") is None


def test_a_client_that_is_not_sampled_is_not_traced(traced):
    gateway, collector, upstream, key = traced
    unsampled = f"00-{TRACE}-{CLIENT}-00"
    answer = get(gateway, key, "/v1/things", traceparent=unsampled)
    assert upstream.last().header("traceparent") == unsampled, "its trace passes as it came"
    of_call(collector, get(gateway, key, "/v1/things"), 2)
    calls = {attributes(span)["toolgate.call.id"] for span in collector.spans()}
    assert answer.headers["x-call-id"] not in calls


def test_a_refused_call_has_one_span_and_no_error(traced):
    gateway, collector, upstream, key = traced
    before = len(upstream.seen)
    answer = get(gateway, key, "/admin")
    assert answer.status_code == 403 and len(upstream.seen) == before
    [span] = of_call(collector, answer, 1).values()
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert attributes(span)["toolgate.result"] == "refused" and attributes(span)["error.type"] == "forbidden"


def test_spans_hold_no_secret(traced):
    gateway, collector, _, key = traced
    of_call(collector, get(gateway, key, "/v1/things", **{"x-mine": "canary_header_9d"}), 2)
    for request in collector.seen:
        for secret in (SECRET, key, "canary_header_9d", "/v1/things"):
            assert secret.encode() not in request.everything()


def test_calls_never_wait_for_a_collector(tmp_path):
    with Recorder() as upstream:
        settings = f"telemetry: {{ otlp: 'http://127.0.0.1:{free_port()}' }}\n"
        home = tmp_path / "home"
        with gateways.serving(home, POLICY, services(upstream), {("api", "key"): SECRET}, settings=settings) as gateway:
            key = gateway.key("ada", "user", "api")
            for _ in range(20):
                assert get(gateway, key, "/v1/things").status_code == 200
            wait_until(lambda: "telemetry.otlp" in gateway.log.read_text(), "the loss to be told")
            assert get(gateway, key, "/v1/things").status_code == 200
