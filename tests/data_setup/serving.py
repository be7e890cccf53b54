"""A server on the loopback interface that misbehaves in the ways servers do, and small archives for it to serve."""

import gzip
import io
import random
import re
import socket
import tarfile
import threading
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MIB = 1 << 20
KIB = 1 << 10


def pictures(seed=0, last_bytes=3000):
    """Small files named as in Imagenette, more than a MiB together; random bytes, which do not shrink."""
    rng = random.Random(seed)
    names = [f"{part}/n0{wnid}/n0{wnid}_{n}.JPEG" for part in ("train", "val") for wnid in (1, 2) for n in range(8)]
    files = {name: rng.randbytes(rng.randint(30_000, 60_000)) for name in names}
    return {**files, "val/n02/zlast.JPEG": rng.randbytes(last_bytes)}


def targz(members, top="") -> bytes:
    """A .tar.gz, not squeezed, so that equal beginnings give equal bytes. `members`: name -> bytes or TarInfo."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for name, content in members.items() if isinstance(members, dict) else members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(top + name)
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def zipped(members, top="") -> bytes:
    """A .zip. `members`: pairs of name and bytes, or of ZipInfo and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else top + name, content)
    return buffer.getvalue()


@dataclass
class Reply:
    """What the server is about to send; a mode changes it."""

    status: int
    headers: dict
    body: bytes
    length: int | None = None  # what it says; None: says nothing
    stop_at: int | None = None  # bytes after which the line goes dead
    pause_s: float = 0.0  # before it goes dead
    drip: bool = False  # one byte at a time
    chunked: bool = False


@dataclass
class Request:
    path: str
    first_byte: int | None  # of its Range header
    sent: int = 0  # bytes of body that went out


@dataclass
class Server:
    """Serves `files` (path -> bytes), with Range and ETag; `modes` (path -> word) makes it misbehave."""

    files: dict = field(default_factory=dict)
    modes: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                with suppress(BrokenPipeError, ConnectionResetError):
                    outer.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def asked(self):
        return [request.path for request in self.requests]

    def answer(self, to):
        wanted = re.fullmatch(r"bytes=(\d+)-", to.headers.get("Range", ""))
        request = Request(to.path, int(wanted[1]) if wanted else None)
        self.requests.append(request)
        reply = self.right(to, request)
        mode = self.modes.get(to.path, "right")
        if mode != "right":
            reply = MODES[mode](self, to, request, reply, self.asked.count(to.path)) or reply
        to.close_connection = True
        if reply.status:
            self.send(to, request, reply)

    def right(self, to, request) -> Reply:
        """The answer of a server that behaves."""
        if to.path not in self.files:
            return Reply(404, {"Content-Type": "text/html"}, b"<html>no such page</html>", 25)
        body = self.files[to.path]
        etag = f'"{hash(body):x}"'
        headers = {"Content-Type": "application/gzip", "ETag": etag, "Accept-Ranges": "bytes"}
        if request.first_byte is None or to.headers.get("If-Range", etag) != etag:
            return Reply(200, headers, body, len(body))
        if request.first_byte >= len(body):
            return Reply(416, {"Content-Range": f"bytes */{len(body)}"}, b"", 0)
        rest = body[request.first_byte :]
        headers["Content-Range"] = f"bytes {request.first_byte}-{len(body) - 1}/{len(body)}"
        return Reply(206, headers, rest, len(rest))

    def send(self, to, request, reply):
        to.send_response(reply.status)
        for name, value in reply.headers.items():
            to.send_header(name, value)
        if reply.chunked:
            to.send_header("Transfer-Encoding", "chunked")
        elif reply.length is not None:
            to.send_header("Content-Length", str(reply.length))
        to.end_headers()
        if reply.chunked:
            for start in range(0, len(reply.body), 50_000):
                piece = reply.body[start : start + 50_000]
                to.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            to.wfile.write(b"0\r\n\r\n")
        elif reply.drip:
            for number in range(60):
                to.wfile.write(reply.body[number : number + 1])
                to.wfile.flush()
                request.sent += 1
                time.sleep(0.02)
        else:
            body = reply.body[: reply.stop_at]
            to.wfile.write(body)
            to.wfile.flush()
            request.sent = len(body)
            time.sleep(reply.pause_s)


def flipped(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def mode(word):
    def register(change):
        MODES[word] = change
        return change

    return register


MODES = {}
SILENT_S = 0.4  # longer than the time limit of the tests that need one


def _status(status, times=None, **headers):
    def change(server, to, request, reply, tries):
        if times is None or tries <= times:
            page = b"<html>no</html>"
            named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
            return Reply(status, {"Content-Type": "text/html", **named}, page, len(page))
        return reply

    return change


MODES |= {
    "404": _status(404),
    "403": _status(403),
    "500": _status(500),
    "503": _status(503),
    "503 twice": _status(503, 2),
    "429 once": _status(429, 1, Retry_After=0),
    "429, retry after nonsense": _status(429, 1, Retry_After="soon"),
    "429, retry after a date": _status(429, 1, Retry_After=formatdate(time.time() - 5, usegmt=True)),
    "429, retry after an hour": _status(429, None, Retry_After=3600),
    "204": _status(204),
    "304": _status(304),
    "redirects in a circle": lambda server, to, request, reply, tries: Reply(302, {"Location": to.path}, b"", 0),
    "redirects to a file": lambda server, to, request, reply, tries: Reply(
        302, {"Location": "file:///etc/passwd"}, b"", 0
    ),
    "redirects to nowhere": lambda server, to, request, reply, tries: Reply(302, {"Location": "http://:0/"}, b"", 0),
    "moved": lambda server, to, request, reply, tries: Reply(302, {"Location": "/elsewhere" + to.path}, b"", 0),
    "web page": lambda server, to, request, reply, tries: Reply(
        200, {"Content-Type": "text/html; charset=utf-8"}, b"<!DOCTYPE html>Please sign in", 29
    ),
    "unnamed web page": lambda server, to, request, reply, tries: Reply(
        200, {}, b"\n <html>Please sign in</html>", None
    ),
    "empty": lambda server, to, request, reply, tries: Reply(200, {}, b"", None),
}


@mode("no ranges, cut once")
def _(server, to, request, reply, tries):
    body = server.files[to.path]
    return Reply(200, {}, body, len(body), stop_at=len(body) // 2 if tries == 1 else None)


@mode("cut once")
def _(server, to, request, reply, tries):
    reply.stop_at = len(reply.body) // 2 if tries == 1 else None


@mode("cut once, no length")
def _(server, to, request, reply, tries):
    reply.length, reply.stop_at = None, len(reply.body) // 2 if tries == 1 else None


@mode("cut again and again")
def _(server, to, request, reply, tries):
    reply.stop_at = 200 * KIB


@mode("cut at the same byte")
def _(server, to, request, reply, tries):
    body = server.files[to.path]
    return Reply(200, {}, body, len(body), stop_at=100 * KIB)


@mode("cut at once")
def _(server, to, request, reply, tries):
    reply.stop_at = 0


@mode("hangs up")
def _(server, to, request, reply, tries):
    reply.status = 0


@mode("resets")
def _(server, to, request, reply, tries):
    to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    reply.stop_at = 100 * KIB if tries == 1 else 0


@mode("hangs")
def _(server, to, request, reply, tries):
    time.sleep(SILENT_S)


@mode("stalls once")
def _(server, to, request, reply, tries):
    if tries == 1:
        reply.stop_at, reply.pause_s = 300 * KIB, SILENT_S


@mode("holds")
def _(server, to, request, reply, tries):
    """Sends a part and then nothing until `released`."""
    to.send_response(200)
    to.send_header("Content-Length", str(len(reply.body)))
    to.end_headers()
    to.wfile.write(reply.body[: 300 * KIB])
    to.wfile.flush()
    request.sent = 300 * KIB
    server.released.wait(30)
    return Reply(0, {}, b"")


@mode("stalls")
def _(server, to, request, reply, tries):
    reply.stop_at, reply.pause_s = 20 * KIB, SILENT_S


@mode("drips")
def _(server, to, request, reply, tries):
    reply.drip = True


@mode("in chunks")
def _(server, to, request, reply, tries):
    reply.chunked = True


@mode("x-gzip")
def _(server, to, request, reply, tries):
    reply.headers["Content-Encoding"] = "x-gzip"


@mode("wrong bytes")
def _(server, to, request, reply, tries):
    reply.body = flipped(reply.body, 100)


@mode("damaged tail")
def _(server, to, request, reply, tries):
    reply.body = flipped(reply.body, len(reply.body) - 2000)


@mode("wrong bytes, cut once")
def _(server, to, request, reply, tries):
    """The second half of what it sends after the first cut is of another file, and it has no ETag to tell."""
    reply.headers.pop("ETag")
    if tries == 1:
        reply.body, reply.stop_at = flipped(reply.body, 100), len(reply.body) // 2


@mode("always wrong, always cut")
def _(server, to, request, reply, tries):
    reply.headers.pop("ETag")
    reply.body = flipped(reply.body, 100)
    reply.stop_at = 700 * KIB


@mode("another file at first")
def _(server, to, request, reply, tries):
    if tries == 1:
        other = bytes(len(reply.body))
        return Reply(200, {"ETag": '"old"'}, other, len(other), stop_at=len(other) // 2)
    return None


@mode("wrong range")
def _(server, to, request, reply, tries):
    if request.first_byte is None:
        reply.stop_at = len(reply.body) // 2 if tries == 1 else None
    else:
        reply.headers["Content-Range"] = f"bytes 0-{len(reply.body) - 1}/{len(reply.body)}"


@mode("416 for the rest")
def _(server, to, request, reply, tries):
    if request.first_byte is None:
        reply.stop_at = len(reply.body) // 2 if tries == 1 else None
        return reply
    return Reply(416, {}, b"", 0)


@mode("says it is longer")
def _(server, to, request, reply, tries):
    reply.length += 1000


@mode("says it is shorter")
def _(server, to, request, reply, tries):
    reply.length -= 1000


@mode("is shorter")
def _(server, to, request, reply, tries):
    reply.body = reply.body[:-5]
    reply.length = len(reply.body)


@mode("is longer, no length")
def _(server, to, request, reply, tries):
    reply.body, reply.length = reply.body + bytes(3 * MIB), None


@mode("length is nonsense")
def _(server, to, request, reply, tries):
    reply.length = "many"


@mode("part without being asked")
def _(server, to, request, reply, tries):
    return Reply(206, {"Content-Range": "bytes 0-99/100"}, reply.body[:100], 100)
