"""What may be opened, and where it lies."""

import os
from pathlib import Path

import pytest

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media import policy
from qwen3_vl_retrieval.media.policy import MediaPolicy, read_file, resolve_path, shorten_name


def test_nothing_is_downloaded_by_default():
    default = MediaPolicy()
    assert (default.allow_urls, default.allow_private_addresses, default.allow_dirs) == (False, False, None)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_bytes": 0},
        {"max_pixels": -1},
        {"max_frames": True},
        {"max_pages": 1.5},
        {"max_redirects": -1},
        {"max_duration_seconds": 0},
        {"timeout_seconds": float("inf")},
        {"timeout_seconds": float("nan")},
    ],
)
def test_a_limit_that_allows_nothing_is_refused(limits):
    with pytest.raises((ValueError, TypeError), match=next(iter(limits))):
        MediaPolicy(**limits)


@pytest.mark.parametrize("host", ["https://example.org", "example.org/x", "*.example.org", "", ".", "bücher.example"])
def test_a_host_that_could_never_match_is_refused(host):
    with pytest.raises(ValueError, match="allow_hosts"):
        MediaPolicy(allow_hosts=(host,))


def test_host_names_are_compared_without_case_or_final_dot():
    assert MediaPolicy(allow_hosts=("Example.ORG.",)).allow_hosts == ("example.org",)


def test_a_file_under_an_allowed_folder_is_found_through_links_inside_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(tmp_path / "deep" / "a.png")
    allowing = MediaPolicy(allow_dirs=(tmp_path,))
    assert resolve_path(tmp_path / "link.png", allowing) == (tmp_path / "deep" / "a.png").resolve()


def test_a_link_out_of_the_allowed_folder_is_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
        resolve_path(tmp_path / "open" / "link.png", MediaPolicy(allow_dirs=(str(tmp_path / "open"),)))


def test_dots_do_not_lead_out_of_the_allowed_folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "open").mkdir()
    with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
        resolve_path(tmp_path / "open" / ".." / "secret.png", MediaPolicy(allow_dirs=(tmp_path / "open",)))


def test_a_folder_whose_name_begins_alike_is_not_the_allowed_one(tmp_path):
    (tmp_path / "openly").mkdir()
    (tmp_path / "openly" / "a.png").write_bytes(b"x")
    with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
        resolve_path(tmp_path / "openly" / "a.png", MediaPolicy(allow_dirs=(tmp_path / "open",)))


def test_a_refusal_does_not_tell_whether_the_file_exists(tmp_path):
    with pytest.raises(MediaPolicyError, match="outside the allowed folders"):
        resolve_path(tmp_path / "missing.png", MediaPolicy(allow_dirs=()))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        resolve_path(tmp_path / "missing.png", MediaPolicy())


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(MediaError, match="a folder"):
        resolve_path(tmp_path, MediaPolicy())


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match="a pipe"):
        read_file(tmp_path / "pipe.png", MediaPolicy())


def test_a_file_exchanged_for_a_link_after_the_check_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "a.png").symlink_to(tmp_path / "secret")
    # What `resolve_path` would have returned while `a.png` was still a file.
    monkeypatch.setattr(policy, "resolve_path", lambda path, _: path)
    with pytest.raises(MediaError, match="cannot be read"):
        read_file(tmp_path / "a.png", MediaPolicy())


def test_a_file_exchanged_for_a_pipe_after_the_check_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.png")
    monkeypatch.setattr(policy, "resolve_path", lambda path, _: path)
    with pytest.raises(MediaError, match="a pipe"):
        read_file(tmp_path / "a.png", MediaPolicy())


def test_a_device_is_refused():
    with pytest.raises(MediaError, match="a device"):
        read_file(Path("/dev/zero"), MediaPolicy())


def test_a_loop_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(MediaError, match="cannot be opened"):
        resolve_path(tmp_path / "a", MediaPolicy())


def test_a_null_byte_in_a_name_is_an_error():
    with pytest.raises(MediaError, match="cannot be opened"):
        resolve_path("a\0b", MediaPolicy())


def test_a_file_above_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", MediaPolicy(max_bytes=5)) == b"12345"
    with pytest.raises(MediaPolicyError, match="max_bytes=4"):
        read_file(tmp_path / "a", MediaPolicy(max_bytes=4))


def test_long_names_are_cut_in_messages():
    uri = "data:image/png;base64," + "A" * 5000
    assert shorten_name(uri) == uri[:59] + "…"
    assert shorten_name("/long/folder/" * 20 + "broken.png").endswith("/broken.png")


@pytest.mark.parametrize("scheme", ["data", "DATA", "Data"])
def test_the_data_of_a_uri_is_left_out_of_messages_whatever_its_case(scheme):
    assert len(shorten_name(f"{scheme}:image/png;base64," + "A" * 500)) == 60


@pytest.mark.parametrize(
    "settings",
    [
        {"allow_urls": "false"},
        {"allow_urls": 1},
        {"allow_private_addresses": "no"},
        {"allow_private_addresses": None},
        {"max_redirects": 1.5},
        {"max_redirects": True},
        {"max_redirects": "3"},
        {"timeout_seconds": "3"},
        {"timeout_seconds": True},
        {"max_duration_seconds": None},
        {"allow_hosts": (5,)},
        {"allow_hosts": "example.org"},
        {"allow_dirs": (5,)},
        {"allow_dirs": "folder"},
    ],
)
def test_a_setting_of_a_wrong_type_is_refused_by_name(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MediaPolicy(**settings)
