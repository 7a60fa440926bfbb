"""An HTTP/1.1 server of ours that writes down every request as it came, and answers what a test wants."""

import dataclasses
import socket
import threading
from collections.abc import Callable, Iterable


@dataclasses.dataclass
class Arrived:
    """One request, as its bytes said."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The value of a header that may be there once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def everything(self) -> bytes:
        """All that came with it, to be searched."""
        head = "".join(f"{name}: {value}\n" for name, value in self.headers)
        return f"{self.method} {self.target}\n{head}".encode("latin-1") + self.body


@dataclasses.dataclass
class Answer:
    """What is answered: an iterable body is sent chunk by chunk, each as soon as it is there."""

    body: bytes | Iterable[bytes] = b'{"ok":true}'
    status: int = 200
    media: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Recorder:
    """A server of this process on a port of its own, until it is closed."""

    def __init__(self, answer: Callable[[Arrived], Answer] = lambda _request: Answer(), arriving=None):
        """`arriving(request, piece)` hears of each piece of a body as it arrives."""
        self.answer, self.arriving = answer, arriving
        self.seen: list[Arrived] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def last(self) -> Arrived:
        assert self.seen, "nothing has arrived"
        return self.seen[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := self._read(stream)) is not None:
                    self.seen.append(request)
                    if not send(connection, request.method, self.answer(request)):
                        return
        except OSError:
            pass  # the other side has gone, which is its right
        finally:
            self._open.discard(connection)

    def _read(self, stream) -> Arrived | None:
        line = stream.readline().decode("latin-1")
        if not line:
            return None
        method, target, _version = line.rstrip("\r\n").split(" ")
        headers = []
        while (line := stream.readline().decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        request = Arrived(method, target, headers)
        pieces = []
        for piece in body_of(request, stream):
            pieces.append(piece)
            if self.arriving:
                self.arriving(request, piece)
        request.body = b"".join(pieces)
        return request


def body_of(request: Arrived, stream):
    """The body's pieces (RFC 9112 section 6)."""
    if request.header("transfer-encoding"):
        while size := int(stream.readline().split(b";")[0], 16):
            yield stream.read(size)
            stream.readline()
        while stream.readline().rstrip(b"\r\n"):
            pass
        return
    left = int(request.header("content-length") or 0)
    while left:
        piece = stream.read1(left)
        if not piece:
            raise ConnectionError("the body broke off")
        left -= len(piece)
        yield piece


def send(connection: socket.socket, method: str, answer: Answer) -> bool:
    """Sends an answer; whether the connection can take another request."""
    head = [f"HTTP/1.1 {answer.status} Answer", f"Content-Type: {answer.media}"]
    head += [f"{name}: {value}" for name, value in answer.headers]
    whole = isinstance(answer.body, bytes)
    head.append(f"Content-Length: {len(answer.body)}" if whole else "Transfer-Encoding: chunked")
    connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
    if method == "HEAD":
        return True
    if whole:
        connection.sendall(answer.body)
        return True
    for chunk in answer.body:
        connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    connection.sendall(b"0\r\n\r\n")
    return True
