"""Downloads, against a real server on the loopback address."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media import download
from qwen3_vl_retrieval.media.download import fetch_url
from qwen3_vl_retrieval.media.policy import MediaPolicy


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        self.server.seen.append((self.path, dict(self.headers)))
        with contextlib.suppress(OSError):
            getattr(self, url.path.strip("/").replace("-", "_"))(parse_qs(url.query))

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def ok(self, query):
        self.answer(200, b"picture", Content_Length="7")

    def status(self, query):
        self.answer(int(query["code"][0]), b"no", Content_Length="2")

    def redirect(self, query):
        self.answer(int(query.get("code", ["302"])[0]), Location=query["to"][0], Content_Length="0")

    def loop(self, query):
        self.answer(302, Location="/loop", Content_Length="0")

    def slow_loop(self, query):
        self.server.released.wait(0.15)
        self.answer(302, Location="/slow-loop", Content_Length="0")

    def declared(self, query):
        self.answer(200, Content_Length=str(2**30))
        self.server.released.wait(5)

    def endless(self, query):
        self.answer(200)
        while not self.server.released.is_set():
            self.wfile.write(b"x" * 65536)

    def drip(self, query):
        self.answer(200)
        self.trickle()

    def drip_headers(self, query):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.trickle()

    def trickle(self):
        while not self.server.released.wait(0.01):
            self.wfile.write(b"x")
            self.wfile.flush()

    def short(self, query):
        self.answer(200, b"pict", Content_Length="7")

    def compressed(self, query):
        self.answer(200, b"\x1f\x8b", Content_Encoding="gzip", Content_Length="2")

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients hang up on purpose here."""


@contextlib.contextmanager
def serve(context=None):
    server = Server(("127.0.0.1", 0), Handler)
    server.seen, server.released = [], threading.Event()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server():
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def reached(monkeypatch):
    """The addresses connected to; anything but loopback fails the test before a packet leaves."""
    addresses = []
    connect = socket.socket.connect

    def guard(self, address):
        addresses.append(address[0])
        if not address[0].startswith("127.") and address[0] != "::1":
            pytest.fail(f"a connection to {address} was attempted")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guard)
    return addresses


def url(server, path="/ok", host="127.0.0.1"):
    return f"http://{host}:{server.server_port}{path}"


def allow(**options):
    options.setdefault("timeout_seconds", 5)
    return MediaPolicy(allow_urls=True, allow_private_addresses=True, **options)


def test_a_body_is_downloaded_by_address_and_by_name(server, reached):
    assert fetch_url(url(server), allow()) == b"picture"
    assert fetch_url(url(server, host="localhost"), allow(allow_hosts=("localhost",))) == b"picture"
    assert set(reached) <= {"127.0.0.1", "::1"}


def test_the_host_is_named_and_compression_is_declined(server):
    fetch_url(url(server, host="localhost"), allow())
    headers = server.seen[-1][1]
    assert headers["Host"] == f"localhost:{server.server_port}"
    assert headers["Accept-Encoding"] == "identity"


def test_urls_are_refused_unless_allowed(server, reached):
    with pytest.raises(MediaPolicyError, match="URLs are not allowed"):
        fetch_url(url(server), MediaPolicy(allow_private_addresses=True))
    assert reached == []


@pytest.mark.parametrize("target", ["http://127.0.0.1/a", "http://localhost/a", "http://[::1]/a", "http://10.0.0.1/a"])
def test_private_addresses_are_refused_before_any_connection(target, reached):
    with pytest.raises(MediaPolicyError, match="not a public address"):
        fetch_url(target, MediaPolicy(allow_urls=True))
    assert reached == []


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "http://[::ffff:a9fe:a9fe]/", "http://0.0.0.0/"])
def test_metadata_addresses_are_refused_before_any_connection_whatever_is_allowed(target, reached):
    for policy in (MediaPolicy(allow_urls=True), allow(allow_hosts=())):
        with pytest.raises(MediaPolicyError, match="never reached"):
            fetch_url(target, policy)
    assert reached == []


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/a", "file:///etc/hostname", "gopher://127.0.0.1/", "javascript:1"])
def test_other_schemes_are_refused(target, reached):
    with pytest.raises(MediaPolicyError, match="allowed are http and https"):
        fetch_url(target, allow())
    assert reached == []


def test_a_host_outside_the_list_is_refused_before_it_is_resolved(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("the host was resolved"))
    with pytest.raises(MediaPolicyError, match=r"'other\.example' is not allowed; allowed are localhost"):
        fetch_url("http://other.example/a", allow(allow_hosts=("localhost",)))


def test_credentials_in_a_url_are_refused_and_not_repeated(server):
    with pytest.raises(MediaPolicyError, match="user name or password") as caught:
        fetch_url(f"http://me:hunter2@127.0.0.1:{server.server_port}/ok", allow())
    assert "hunter2" not in str(caught.value)
    assert server.seen == []


@pytest.mark.parametrize("target", ["http://", "http:///a", "http://[::1", "http://a:99999999/", "http://a\x00b/"])
def test_a_malformed_url_is_an_error(target):
    with pytest.raises(MediaError, match="malformed URL"):
        fetch_url(target, allow())


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server, code):
    assert fetch_url(url(server, f"/redirect?code={code}&to=/ok"), allow()) == b"picture"


def test_redirects_are_counted(server):
    assert fetch_url(url(server, "/redirect?to=/ok"), allow(max_redirects=1)) == b"picture"
    for most, requests in ((0, 1), (2, 3)):
        server.seen.clear()
        with pytest.raises(MediaPolicyError, match=f"max_redirects={most}"):
            fetch_url(url(server, "/loop"), allow(max_redirects=most))
        assert len(server.seen) == requests


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "never reached"),
        ("http://localhost/secret", "'localhost' is not allowed"),
        ("ftp://127.0.0.1/a", "allowed are http and https"),
        ("file:///etc/hostname", "allowed are http and https"),
        ("http://a:b@127.0.0.1/", "user name or password"),
    ],
)
def test_every_redirect_is_checked_like_the_first_url(server, target, reason, reached):
    hosts = ("127.0.0.1", "169.254.169.254")
    with pytest.raises(MediaPolicyError, match=reason):
        fetch_url(url(server, f"/redirect?to={target}"), allow(allow_hosts=hosts))
    assert reached == ["127.0.0.1"]


def test_a_redirect_without_a_target_or_to_nonsense_is_an_error(server):
    with pytest.raises(MediaError, match="status 302"):
        fetch_url(url(server, "/status?code=302"), allow())
    with pytest.raises(MediaError, match="malformed URL"):
        fetch_url(url(server, "/redirect?to=http://[::1"), allow())


@pytest.mark.parametrize("code", [204, 206, 401, 404, 500])
def test_another_status_than_200_is_an_error_that_names_it(server, code):
    with pytest.raises(MediaError, match=f"status {code}"):
        fetch_url(url(server, f"/status?code={code}"), allow())


def test_a_declared_gigabyte_is_refused_without_reading_it(server):
    started = time.monotonic()
    with pytest.raises(MediaPolicyError, match="max_bytes"):
        fetch_url(url(server, "/declared"), allow())
    assert time.monotonic() - started < 2


def test_an_endless_body_is_refused_at_the_byte_limit(server):
    with pytest.raises(MediaPolicyError, match="max_bytes=1,000,000"):
        fetch_url(url(server, "/endless"), allow(max_bytes=1_000_000))


@pytest.mark.parametrize("path", ["/drip", "/drip-headers"])
def test_a_body_or_header_that_drips_for_ever_ends_with_the_time(server, path):
    started = time.monotonic()
    with pytest.raises(MediaPolicyError, match=r"timeout_seconds=0\.4"):
        fetch_url(url(server, path), allow(timeout_seconds=0.4))
    assert 0.3 < time.monotonic() - started < 2


def test_redirects_share_one_time_limit(server):
    with pytest.raises(MediaPolicyError, match="timeout_seconds"):
        fetch_url(url(server, "/slow-loop"), allow(max_redirects=50, timeout_seconds=0.4))
    assert 2 <= len(server.seen) <= 5


def test_a_body_shorter_than_declared_is_an_error(server):
    with pytest.raises(MediaError, match="cannot be downloaded"):
        fetch_url(url(server, "/short"), allow())


def test_a_compressed_body_is_refused(server):
    with pytest.raises(MediaError, match="compressed"):
        fetch_url(url(server, "/compressed"), allow())


def test_a_server_that_is_not_there_is_an_error():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(MediaError, match="cannot be downloaded"):
        fetch_url(f"http://127.0.0.1:{port}/", allow())


def test_the_address_connected_to_is_the_one_that_was_checked(server, monkeypatch, reached):
    real = socket.getaddrinfo

    def rebind(host, port, *args, **kwargs):
        # The first answer is checked; were the name asked again, it would lead to the metadata service.
        names.append(host)
        if host != "picture.example":
            return real(host, port, *args, **kwargs)
        address = "127.0.0.1" if names.count(host) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    names = []
    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    assert fetch_url(url(server, host="picture.example"), allow()) == b"picture"
    assert names.count("picture.example") == 1
    assert reached == ["127.0.0.1"]
    assert server.seen[0][1]["Host"].startswith("picture.example:")


def test_the_next_address_is_tried_when_one_does_not_answer(server, monkeypatch, reached):
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host != "picture.example":
            return real(host, port, *args, **kwargs)
        # Nothing listens on the first one.
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("127.0.0.9", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert fetch_url(url(server, host="picture.example"), allow()) == b"picture"
    assert reached == ["127.0.0.9", "127.0.0.1"]


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.9:9")
    assert fetch_url(url(server), allow()) == b"picture"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for `localhost` that signs itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - a fixed command
    return folder


@pytest.fixture
def secure_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    names = []
    context.sni_callback = lambda _, name, __: names.append(name)
    with serve(context) as server:
        server.names = names
        yield server


def test_the_certificate_is_checked_against_the_name(secure_server, certificate, monkeypatch):
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    monkeypatch.setattr(download, "_create_ssl_context", lambda: trusting)
    port = secure_server.server_port
    assert fetch_url(f"https://localhost:{port}/ok", allow()) == b"picture"
    assert secure_server.names == ["localhost"]
    with pytest.raises(MediaError, match=r"(?i)certificate"):
        fetch_url(f"https://127.0.0.1:{port}/ok", allow())


def test_a_certificate_that_nobody_vouches_for_is_refused(secure_server):
    with pytest.raises(MediaError, match=r"(?i)certificate"):
        fetch_url(f"https://localhost:{secure_server.server_port}/ok", allow())
    assert secure_server.seen == []


@pytest.mark.parametrize("target", ["http://xn--a/x.png", "http://xn--/x.png"])
def test_a_host_name_that_decodes_to_nothing_is_an_error_in_redirects_too(server, target):
    with pytest.raises(MediaError, match="malformed URL 'http://xn--"):
        fetch_url(target, MediaPolicy(allow_urls=True))
    with pytest.raises(MediaError, match=r"malformed URL.*xn--|redirects to a malformed URL"):
        fetch_url(url(server, f"/redirect?to={target}"), allow())


def test_an_expired_download_names_the_url(server):
    with pytest.raises(MediaPolicyError, match=r"the download of 'http://.*/drip' took longer"):
        fetch_url(url(server, "/drip"), allow(timeout_seconds=0.2))
