"""How a `str` inside `image` or `video` is understood."""

import base64
from pathlib import Path

import pytest

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.policy import MediaPolicy, open_source, read_bytes

POLICY = MediaPolicy()


def test_a_local_file_stays_a_path_until_it_is_read(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert open_source(str(tmp_path / "a.bin"), POLICY) == (tmp_path / "a.bin").resolve()
    assert read_bytes(tmp_path / "a.bin", POLICY) == b"abc"


@pytest.mark.parametrize("prefix", ["file://", "file://localhost", "FILE://LOCALHOST", "file:"])
def test_a_file_uri_names_a_local_file_with_percent_codes(tmp_path, prefix):
    (tmp_path / "a b.bin").write_bytes(b"abc")
    assert read_bytes(prefix + str(tmp_path / "a%20b.bin"), POLICY) == b"abc"


def test_a_file_uri_with_a_host_is_refused():
    with pytest.raises(MediaPolicyError, match="names the host 'server'"):
        read_bytes("file://server/share/a.png", POLICY)


@pytest.mark.parametrize("uri", ["file:", "file://", "file://localhost"])
def test_a_file_uri_without_a_file_is_an_error(uri):
    with pytest.raises(MediaError, match="names no file"):
        read_bytes(uri, POLICY)


@pytest.mark.parametrize("uri", ["ftp://example.org/a.png", "s3://bucket/a.png", "gopher://x/", "HLS+http://x/a"])
def test_another_scheme_is_refused_by_name(uri):
    with pytest.raises(MediaPolicyError, match="allowed are http, https, data, file"):
        read_bytes(uri, POLICY)


def test_a_drive_letter_is_a_path():
    with pytest.raises(MediaError, match="no such file"):
        read_bytes(r"C:\pictures\a.png", POLICY)


def test_a_colon_in_a_file_name_is_no_scheme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("take:1.bin").write_bytes(b"abc")
    assert read_bytes("take:1.bin", POLICY) == b"abc"


def test_urls_are_refused_unless_allowed():
    for url in ("http://127.0.0.1/a.png", "HTTPS://example.org/a.png"):
        with pytest.raises(MediaPolicyError, match="URLs are not allowed"):
            read_bytes(url, POLICY)


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,aGVsbG8=",
        "DATA:;BASE64,aGVsbG8=",
        "data:;base64,aGVs%62G8%3D",
        "data:;base64,aGVs\nbG8=",
        "data:,hello",
        "data:text/plain;charset=utf-8,h%65llo",
    ],
)
def test_data_uris_are_decoded(uri):
    assert read_bytes(uri, POLICY) == b"hello"


@pytest.mark.parametrize("uri", ["data:image/png;base64", "data:;base64,a", "data:;base64,aGV$bG8=", "data:;base64,ä"])
def test_a_malformed_data_uri_is_an_error(uri):
    with pytest.raises(MediaError, match="malformed data: URI"):
        read_bytes(uri, POLICY)


@pytest.mark.parametrize(
    "uri",
    [
        "data:;base64," + base64.b64encode(b"x" * 101).decode(),
        "data:," + "x" * 101,
        "data:," + "x" * 1000,
        "data:;base64," + "%41" * 400,
    ],
)
def test_a_data_uri_above_the_limit_is_refused_and_not_repeated_in_the_message(uri):
    with pytest.raises(MediaPolicyError, match="max_bytes=100") as caught:
        read_bytes(uri, MediaPolicy(max_bytes=100))
    assert len(str(caught.value)) < 250


def test_bytes_are_limited_too():
    assert read_bytes(b"abc", MediaPolicy(max_bytes=3)) == b"abc"
    with pytest.raises(MediaPolicyError, match="max_bytes=2"):
        read_bytes(b"abc", MediaPolicy(max_bytes=2))
