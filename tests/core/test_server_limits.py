"""What the server refuses, whom it lets wait, and that it stays up whatever is sent."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import MediaPolicy, Qwen3VLEmbedder
from qwen3_vl_retrieval.server import ServerLimits, create_app
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker
from served_apps import serve_app

MANY = 100_000
LIMITS = ServerLimits(
    max_body_bytes=1_000_000,
    max_items=8,
    max_tokens=1_000,
    max_pixels=100_000,
    max_json_values=10_000,
    max_body_seconds=0.5,
    max_running_requests=2,
)


def count_words(inputs, *, input_type, instruction):
    return [[0] * len(text.split()) for text in inputs]


@pytest.fixture(scope="module")
def url():
    app = create_app(
        embedder=FakeEmbedder(),
        reranker=FakeReranker(),
        limits=LIMITS,
        media_policy=MediaPolicy(allow_dirs=(), max_pixels=60_000),
        tokenize=count_words,
    )
    with serve_app(app) as url:
        yield url


def connect(url):
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def read_answer(connection):
    """The status and the body of what the server sends until it closes, or until the answer is whole."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
            head, _, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if length and len(body) >= int(length[1]):
                break
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), f"no answer: {received[:100]}"
    return int(head.split()[1]), body.decode("utf-8")


def head(*lines, path="/v1/embeddings", method="POST"):
    given = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines])
    return given.encode("latin-1") + b"\r\n\r\n"


def post(body, *lines, path="/v1/embeddings"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head("Content-Type: application/json", f"Content-Length: {len(content)}", *lines, path=path) + content


CHUNKED = head("Content-Type: application/json", "Transfer-Encoding: chunked")
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


def conversation(image):
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]}


def as_uri(content, kind="png"):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def write_png(width, height):
    """A PNG whose header declares this size, and which holds a few bytes."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x02\0\0\0") + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def draw_png(side):
    content = io.BytesIO()
    Image.new("RGB", (side, side)).save(content, "PNG")
    return content.getvalue()


BIG_TEXT = write_png(64, 64)[:-12] + b"".join(
    [
        len(text := b"Comment\0\0" + zlib.compress(bytes(50_000_000))).to_bytes(4, "big"),
        b"zTXt" + text,
        zlib.crc32(b"zTXt" + text).to_bytes(4, "big"),
        write_png(1, 1)[-12:],
    ]
)

BIG, BAD, UNSUPPORTED = {413}, {400}, {415}
HOSTILE = {
    "a gigabyte is declared": (head("Content-Type: application/json", "Content-Length: 1000000000"), BIG),
    "a gigabyte is declared and awaited": (
        head("Content-Type: application/json", "Content-Length: 1000000000", "Expect: 100-continue"),
        BIG,
    ),
    "more bytes are declared than there are": (
        head("Content-Type: application/json", "Content-Length: 9" + "9" * 18),
        BIG,
    ),
    "a number of bytes of forty digits": (
        head("Content-Type: application/json", "Content-Length: " + "9" * 40),
        {400, 413},
    ),
    "a negative number of bytes": (head("Content-Type: application/json", "Content-Length: -5"), BAD),
    "two numbers of bytes": (
        head("Content-Type: application/json", "Content-Length: 5", "Content-Length: 50"),
        BAD,
    ),
    "fewer bytes are declared than come": (post({"input": "x"}).replace(b"Length: 14", b"Length: 3"), BAD),
    "chunks without an end": (CHUNKED + CHUNK * 40, BIG),
    "a chunk without a size": (CHUNKED + b"zz\r\nabc\r\n", BAD),
    "an encoding of the transfer that is unknown": (
        head("Content-Type: application/json", "Transfer-Encoding: gzip, chunked"),
        {400, 501},
    ),
    "a body that never comes": (head("Content-Type: application/json", "Content-Length: 50"), {408}),
    "no body": (head("Content-Type: application/json"), BAD),
    "a compressed body": (post(zlib.compress(b"{}"), "Content-Encoding: gzip"), UNSUPPORTED),
    "a form": (
        head("Content-Type: application/x-www-form-urlencoded", "Content-Length: 3") + b"a=b",
        UNSUPPORTED,
    ),
    "text that is JSON, as a page of a browser may send it": (
        post({"input": "x"}).replace(b"application/json", b"text/plain"),
        UNSUPPORTED,
    ),
    "no JSON": (post(b"{input: 'x'}"), BAD),
    "JSON that ends early": (post(b'{"input": ["x", "'), BAD),
    "arrays in arrays": (post(b'{"input":' + b"[" * MANY + b"]" * MANY + b"}"), BAD),
    "objects in objects": (post(b'{"a":' * MANY), BAD),
    "more values than bytes are worth": (post(b'{"input":[' + b"[]," * MANY + b"[]]}"), BIG),
    "quotation marks in quotation marks": (post(b'{"input":"' + b'\\"' * 400_000), BAD),
    "not a number": (post(b'{"input": "x", "dimensions": NaN}'), BAD),
    "infinity": (post(b'{"input": "x", "dimensions": -Infinity}'), BAD),
    "a number beyond all floats": (post(b'{"input": "x", "dimensions": 1e999}'), BAD),
    "an integer of a hundred thousand digits": (post(b'{"input": "x", "dimensions": ' + b"9" * MANY + b"}"), BAD),
    "an integer beyond all sizes": (post({"input": "x", "dimensions": 2**60}), BAD),
    "a number in place of a field": (post({"input": "x", "dimensions": 64.5}), BAD),
    "a key twice": (post(b'{"input": "x", "input": "y"}'), BAD),
    "bytes that are no UTF-8": (post(b'{"input": "\xff\xfe"}'), BAD),
    "UTF-16": (post('{"input": "x"}'.encode("utf-16")), BAD),
    "half of a surrogate pair": (post(b'{"input": "\\ud800"}'), BAD),
    "half of a surrogate pair as a key": (post(b'{"\\ud800": "x"}'), BAD),
    "a list": (post(["x"]), BAD),
    "null": (post(None), BAD),
    "a text": (post("x"), BAD),
    "an object for a text": (post({"input": {"text": "x"}}), BAD),
    "true for a text": (post({"input": True}), BAD),
    "null among texts": (post({"input": ["x", None]}), BAD),
    "messages that are a number": (post({"messages": 5}), BAD),
    "a message that is a text": (post({"messages": ["x"]}), BAD),
    "a part that is a list": (post({"messages": [{"role": "user", "content": [[]]}]}), BAD),
    "a part whose type is an object": (post({"messages": [{"role": "user", "content": [{"type": {}}]}]}), BAD),
    "an empty message": (post({"messages": [{"role": "user", "content": []}]}), BAD),
    "no message": (post({"messages": []}), BAD),
    "too many items": (post({"input": ["x"] * 9}), BIG),
    "too many documents": (post({"query": "x", "documents": ["x"] * 9}, path="/v2/rerank"), BIG),
    "too many tokens": (post({"input": "word " * 1_001}), BIG),
    "a PNG of 2,500 million pixels": (post(conversation(as_uri(write_png(50_000, 50_000)))), BAD),
    "a PNG of a line of two thousand million pixels": (post(conversation(as_uri(write_png(2**31 - 1, 1)))), BAD),
    "a PNG without pixels": (post(conversation(as_uri(write_png(0, 0)))), BAD),
    "a PNG with 50 MB of comment in it": (post(conversation(as_uri(BIG_TEXT))), BAD),
    "half a PNG": (post(conversation(as_uri(draw_png(64)[:60]))), BAD),
    "many images": (post({"images": [as_uri(draw_png(200))] * 8}, path="/v2/embed"), BAD),
    "an SVG that includes a file": (
        post(conversation(as_uri(b"<svg><image href='file:///etc/passwd'/></svg>", "svg+xml"))),
        BAD,
    ),
    "a data: URI without data": (post(conversation("data:image/png")), BAD),
    "a data: URI that is no base64": (post(conversation("data:image/png;base64,%%%")), BAD),
    "a path": (post(conversation("/etc/passwd")), BAD),
    "a path that is base64 as well": (post(conversation("/etc/ssh/ssh")), BAD),
    "a path upwards": (post(conversation("../../../etc/passwd")), BAD),
    "a path of Windows": (post(conversation("C:\\Windows\\win.ini")), BAD),
    "a share of Windows": (post(conversation("\\\\host\\share\\a.png")), BAD),
    "a file: URI": (post(conversation("file:///etc/passwd")), BAD),
    "a file: URI with a host": (post(conversation("file://localhost/etc/passwd")), BAD),
    "a file: URI in capitals": (post(conversation("FILE:///etc/passwd")), BAD),
    "the credentials of a cloud": (post(conversation("http://169.254.169.254/latest/meta-data/")), BAD),
    "a service of this machine": (post(conversation("http://localhost:22/")), BAD),
    "a URL with a space before it": (post(conversation(" http://169.254.169.254/")), BAD),
    "another scheme": (post(conversation("gopher://127.0.0.1/")), BAD),
    "a script": (post(conversation("javascript:alert(1)")), BAD),
    "a video by its path": (
        post({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "/dev/zero"}}]}]}),
        BAD,
    ),
    "a document by its path": (
        post({"query": "x", "documents": [{"image": "/etc/passwd"}]}, path="/v1/rerank"),
        BAD,
    ),
    "a head without an end": (b"GET /health HTTP/1.1\r\nX: " + b"a" * 200_000, {400, 431}),
    "ten thousand headers": (head(*(f"X-{n}: {n}" for n in range(10_000)), path="/health", method="GET"), {400, 431}),
    "a header with a null byte": (head("X: a\0b", path="/health", method="GET"), BAD),
    "a header without a name": (head(": x", path="/health", method="GET"), BAD),
    "a path of 100,000 letters": (head(path="/" + "a" * MANY, method="GET"), {400, 404, 414, 431}),
    "a path that leads upwards": (head(path="/v1/models/../../../etc/passwd", method="GET"), {404}),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", BAD),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", BAD),
    "a method that the route does not take": (head(method="GET"), {405}),
    "a method that deletes": (head("Content-Length: 0", method="DELETE", path="/v1/models/fake"), {405}),
    "a method that traces": (head(method="TRACE", path="/health"), {405}),
    "a method that nobody knows": (head(method="STEAL", path="/health"), {405}),
    "a socket of the web": (
        head("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"),
        {400, 404, 405, 415, 426},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_and_the_server_stays_up(url, name):
    request, statuses = HOSTILE[name]
    with connect(url) as connection:
        # Refused before it was sent, and answered nevertheless.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        status, body = read_answer(connection)
    assert status in statuses, body
    for secret in ("Traceback", "root:", str(Path.cwd()), "site-packages"):
        assert secret not in body
    assert len(body) < 2_500
    assert httpx.get(f"{url}/health").status_code == 200


def test_a_body_that_drips_is_given_up(url):
    with connect(url) as connection:
        connection.sendall(head("Content-Type: application/json", "Content-Length: 100000"))
        connection.setblocking(False)
        answer = b""
        while not answer:
            try:
                answer = connection.recv(65536)
            except BlockingIOError:
                connection.send(b" ")
                time.sleep(0.02)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_keeps_nobody_else_waiting():
    app = create_app(embedder=FakeEmbedder(dimensions=4096), reranker=None)
    with serve_app(app) as url, connect(url) as connection:
        # About 40 MB of numbers.
        connection.sendall(post({"input": [str(number) for number in range(500)]}))
        assert httpx.post(f"{url}/v1/embeddings", json={"input": "x"}, timeout=30).status_code == 200


def test_a_folder_and_a_host_can_be_allowed_and_nothing_beside_them(tmp_path):
    allowed, secret = tmp_path / "allowed", tmp_path / "secret.png"
    allowed.mkdir()
    content = draw_png(64)
    (allowed / "image.png").write_bytes(content)
    secret.write_bytes(content)
    (allowed / "link.png").symlink_to(secret)
    policy = MediaPolicy(allow_dirs=(allowed,), allow_urls=True, allow_hosts=("images.example",))
    with (
        serve_app(create_app(embedder=FakeEmbedder(), reranker=None, media_policy=policy)) as url,
        httpx.Client(base_url=url) as client,
    ):
        answer = client.post("/v1/embeddings", json=conversation((allowed / "image.png").as_uri()))
        inline = client.post("/v1/embeddings", json=conversation(as_uri(content)))
        assert answer.json()["data"] == inline.json()["data"]
        for source in (
            secret.as_uri(),
            (allowed / "link.png").as_uri(),
            (allowed / "missing.png").as_uri(),
            (allowed / ".." / "secret.png").as_uri(),
            "file:///etc/passwd",
            "http://127.0.0.1:9/image.png",
        ):
            refused = client.post("/v1/embeddings", json=conversation(source))
            message = refused.json()["error"]["message"]
            assert refused.status_code == 400
            # That of a file which is there, and of one which is not, are the same; neither names the folder.
            assert "is not allowed here" in message
            assert str(tmp_path) not in message.replace(source, "")


class GatedEmbedder(FakeEmbedder):
    """Computes when it is let, and notes what it began and what was given up."""

    def __init__(self):
        super().__init__()
        self.began: list[str] = []
        self.given_up: list[str] = []
        self._gate = threading.Semaphore(0)

    def let(self, count):
        self._gate.release(count)

    async def aembed(self, inputs, **options):
        self.began.append(inputs[0])
        try:
            while not self._gate.acquire(blocking=False):
                await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.given_up.append(inputs[0])
            raise
        return self.embed(inputs, **options)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def read_gauge(url, name):
    (line,) = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_who_finds_no_place_is_told_to_come_back_and_the_others_are_answered():
    embedder = GatedEmbedder()
    limits = ServerLimits(max_running_requests=1, max_waiting_requests=2, retry_after_seconds=7)
    with (
        serve_app(create_app(embedder=embedder, reranker=None, limits=limits)) as url,
        ThreadPoolExecutor(10) as pool,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        first = pool.submit(client.post, "/v1/embeddings", json={"input": "0"})
        wait_until(lambda: embedder.began)
        waiting = [pool.submit(client.post, "/v1/embeddings", json={"input": str(number)}) for number in (1, 2)]
        wait_until(lambda: read_gauge(url, "qwen3vl_waiting_requests") == 2)
        assert httpx.get(f"{url}/ready").status_code == 503
        refused = [client.post("/v1/embeddings", json={"input": "x"}) for _ in range(5)]
        assert [answer.status_code for answer in refused] == [429] * 5
        assert {answer.headers["retry-after"] for answer in refused} == {"7"}
        assert refused[0].json()["error"]["type"] == "rate_limit_error"
        embedder.let(3)
        for number, answered in enumerate([first, *waiting]):
            (row,) = answered.result().json()["data"]
            assert np.allclose(row["embedding"], FakeEmbedder().embed([str(number)])[0], atol=1e-6)
        assert httpx.get(f"{url}/ready").status_code == 200


def test_queries_go_before_bulk_that_came_earlier():
    embedder = GatedEmbedder()
    limits = ServerLimits(max_running_requests=1, min_bulk_items=3)
    with (
        serve_app(create_app(embedder=embedder, reranker=None, limits=limits)) as url,
        ThreadPoolExecutor(10) as pool,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        answers = []
        for count, name in enumerate(("first", "bulk", "other bulk", "query", "other query")):
            items = [name] * (3 if "bulk" in name else 1)
            answers.append(pool.submit(client.post, "/v1/embeddings", json={"input": items}))
            wait_until(lambda count=count: read_gauge(url, "qwen3vl_waiting_requests") == count)
        embedder.let(5)
        assert [answer.result().status_code for answer in answers] == [200] * 5
    assert embedder.began == ["first", "query", "other query", "bulk", "other bulk"]


def test_bulk_leaves_room_for_queries():
    embedder = GatedEmbedder()
    limits = ServerLimits(max_running_requests=4, max_running_bulk_requests=2, min_bulk_items=3)
    with (
        serve_app(create_app(embedder=embedder, reranker=None, limits=limits)) as url,
        ThreadPoolExecutor(10) as pool,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        bulk = [pool.submit(client.post, "/v1/embeddings", json={"input": ["bulk"] * 3}) for _ in range(4)]
        wait_until(lambda: read_gauge(url, "qwen3vl_waiting_requests") == 2)
        query = pool.submit(client.post, "/v1/embeddings", json={"input": "query"})
        wait_until(lambda: "query" in embedder.began)
        assert embedder.began == ["bulk", "bulk", "query"]
        embedder.let(5)
        assert {answer.result().status_code for answer in [*bulk, query]} == {200}


def test_a_client_that_leaves_gives_up_its_work():
    embedder = GatedEmbedder()
    with serve_app(create_app(embedder=embedder, reranker=None, limits=ServerLimits(max_running_requests=1))) as url:
        with connect(url) as connection:
            connection.sendall(post({"input": "left"}))
            wait_until(lambda: embedder.began == ["left"])
            other = connect(url)
            other.sendall(post({"input": "never begun"}))
            wait_until(lambda: read_gauge(url, "qwen3vl_waiting_requests") == 1)
            other.close()
            wait_until(lambda: read_gauge(url, "qwen3vl_waiting_requests") == 0)
        wait_until(lambda: embedder.given_up == ["left"])
        wait_until(lambda: read_gauge(url, "qwen3vl_running_requests") == 0)
        embedder.let(1)
        assert httpx.post(f"{url}/v1/embeddings", json={"input": "stayed"}).status_code == 200
    assert embedder.began == ["left", "stayed"]


def test_a_client_that_leaves_before_its_body_is_whole_is_no_failure(caplog):
    with serve_app(create_app(embedder=FakeEmbedder(), reranker=None)) as url:
        with connect(url) as connection:
            connection.sendall(head("Content-Type: application/json", "Content-Length: 100") + b"{")
            wait_until(lambda: read_gauge(url, "qwen3vl_waiting_requests") == 1)
        wait_until(lambda: 'route="/v1/embeddings",status="499"' in httpx.get(f"{url}/metrics").text)
    assert "Exception" not in caplog.text


def test_an_answer_that_takes_too_long_is_given_up():
    embedder = GatedEmbedder()
    limits = ServerLimits(max_request_seconds=0.2)
    with serve_app(create_app(embedder=embedder, reranker=None, limits=limits)) as url:
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": "long"}, timeout=30)
        assert answer.status_code == 504
        assert answer.json()["error"]["message"].startswith("the answer took more than 0.2 seconds")
        wait_until(lambda: embedder.given_up == ["long"])


def test_the_bodies_of_all_requests_are_bounded_together():
    limits = ServerLimits(max_buffered_bytes=1_000_000)
    with serve_app(create_app(embedder=FakeEmbedder(), reranker=None, limits=limits)) as url:
        with connect(url) as connection:
            connection.sendall(head("Content-Type: application/json", "Content-Length: 900001") + b" " * 900_000)
            wait_until(lambda: httpx.post(f"{url}/embed", json={"inputs": "x" * 200_000}).status_code == 429)
            assert httpx.post(f"{url}/embed", json={"inputs": "short"}).status_code == 200
        wait_until(lambda: httpx.post(f"{url}/embed", json={"inputs": "x" * 200_000}).status_code == 200)


@pytest.mark.parametrize(
    "limits", [{"max_items": 0}, {"max_body_bytes": 1.5}, {"max_request_seconds": float("inf")}, {"max_pixels": True}]
)
def test_a_limit_that_allows_nothing_or_is_no_number_is_refused(limits):
    with pytest.raises(ValueError, match=next(iter(limits))):
        ServerLimits(**limits)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM that a process could handle")
def test_after_sigterm_a_request_that_was_let_in_is_still_answered(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# of the workers\nsecret-key\n", encoding="utf-8")
    command = Path(sys.executable).with_name("qwen3vl")
    arguments = ["serve", "--embedder", "pocket", "--reranker", "none", "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen(  # noqa: S603 - our own
        [str(command), *arguments, "--port", "0", "--api-key-file", str(keys)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = next(match for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        url = found[0]
        headers = {"X-API-Key": "secret-key"}
        body = json.dumps({"input": ["a red circle"]}).encode()
        with connect(url) as connection:
            lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "X-API-Key: secret-key")
            connection.sendall(head(*lines) + body[:10])
            wait_until(lambda: "qwen3vl_waiting_requests 1.0" in httpx.get(f"{url}/metrics", headers=headers).text)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: is_refused(url))
            connection.sendall(body[10:])
            status, answer = read_answer(connection)
        assert status == 200
        expected = Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32").embed(["a red circle"])[0]
        assert np.abs(np.array(json.loads(answer)["data"][0]["embedding"]) - expected).max() <= 1e-6
        assert process.wait(timeout=60) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def is_refused(url):
    try:
        connect(url).close()
    except ConnectionRefusedError:
        return True
    return False
