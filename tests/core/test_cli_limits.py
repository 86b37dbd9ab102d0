"""Limits as options of the commands: human sizes, messages that name what has an effect, and how far they reach."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import fields

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.cli.limits import (
    OPTIONS,
    Limits,
    name_options,
    parse_bytes,
    parse_pixels,
    parse_seconds,
)


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("parse", "text", "number"),
    [
        (parse_bytes, "4096", 4096),
        (parse_bytes, "2GiB", 2 * 1024**3),
        (parse_bytes, "2G", 2 * 1024**3),
        (parse_bytes, "1.5 GB", 1_500_000_000),
        (parse_bytes, "300kb", 300_000),
        (parse_bytes, "1,024", 1024),
        (parse_pixels, "200MP", 200_000_000),
        (parse_pixels, "0.5m", 500_000),
        (parse_seconds, "90min", 5400),
        (parse_seconds, "6h", 21_600),
        (parse_seconds, "0.2", 1),
    ],
)
def test_sizes_are_read_as_people_write_them(parse, text, number):
    assert parse(text) == number


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((parse_bytes, text) for text in ("", "big", "-1", "0", "2 GiBs", "1e9", "1_0")),
        (parse_pixels, "3h"),
        (parse_seconds, "3MP"),
    ],
)
def test_what_is_no_size_is_a_usage_error_that_shows_one(parse, text):
    with pytest.raises(typer.BadParameter, match="such as"):
        parse(text)


def test_every_limit_of_the_policy_on_a_file_has_an_option_of_both_commands():
    limits = {field.name for field in fields(MediaPolicy) if field.name.startswith("max_")} - {"max_redirects"}
    assert set(OPTIONS) == limits
    commands = vars(typer.main.get_command(app))["commands"]
    for command in ("index", "search"):
        names = {name for parameter in commands[command].params for name in parameter.opts}
        assert set(OPTIONS.values()) <= names


def test_messages_name_the_option_and_leave_other_words_alone():
    told = name_options("12 pages, above max_pages=3; split it, or raise max_pages of the MediaPolicy")
    assert told == "12 pages, above --max-pages 3; split it, or raise --max-pages"
    assert name_options("max_pixels=3 of the PixelBudget") == "max_pixels=3 of the PixelBudget"


def test_limits_become_a_policy_and_what_is_not_given_stays_as_it_is(tmp_path):
    policy = Limits(max_pages=7).build_policy(allow_dirs=(tmp_path,))
    assert policy == MediaPolicy(max_pages=7, allow_dirs=(tmp_path,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    files = tmp_path_factory.mktemp("files")
    Image.effect_noise((80, 60), 40).convert("RGB").save(files / "noise.png")
    Image.new("RGB", (64, 64), "red").save(files / "red.png")
    pages = [Image.new("RGB", (64, 64), color) for color in ("red", "green", "blue")]
    pages[0].save(files / "three.pdf", save_all=True, append_images=pages[1:])
    (files / "note.txt").write_text("The red square.")
    return files


def index(folder, store, *options):
    result = run("index", folder, "--to", store, "--model", "pocket", "--max-pixels", 4096, "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def store(tmp_path_factory, folder):
    """An index of the folder; no test changes it."""
    store = tmp_path_factory.mktemp("indexed") / "store"
    index(folder, store)
    return store


def test_a_limit_that_is_lifted_reaches_index_and_models_and_the_message_says_which(tmp_path, folder):
    store = tmp_path / "store"
    report = index(folder, store, "--max-image-pixels", 4096, "--max-pages", 2)
    told = {re.sub(".*/", "", failure["source"]): failure["message"] for failure in report["failures"]}
    assert sorted(told) == ["noise.png", "three.pdf"]
    assert "--max-image-pixels 4,096" in told["noise.png"]
    assert "raise --max-pages" in told["three.pdf"]
    lifted = index(folder, store, "--max-image-pixels", "1MP", "--max-pages", 3)
    assert (lifted["failures"], lifted["added_files"], lifted["unchanged_files"]) == ([], 2, 2)

    assert lifted["embedded_units"] == 4
    smaller = ("--reranker", "pocket", "--json", "--max-image-pixels", 4096)
    refused = json.loads(run("search", store, "a square", *smaller).stdout)
    assert [re.sub(".*/", "", error["source"]) for error in refused["errors"]] == ["noise.png"]
    judged = json.loads(run("search", store, "a square", "--reranker", "pocket", "--json").stdout)
    assert judged["errors"] == []


def test_a_folder_is_searched_within_the_limits(folder):
    models = ("--model", "pocket", "--reranker", "none", "--json")
    document = json.loads(run("search", folder, "a square", *models, "--max-file-size", "1k").stdout)
    assert all("raise --max-file-size" in error["message"] for error in document["errors"])
    assert {error["source"] for error in document["errors"]} >= {"noise.png"}


def test_what_is_excluded_is_skipped_and_leaves_the_index(tmp_path, folder, store):
    shutil.copytree(store, tmp_path / "store")
    report = index(folder, tmp_path / "store", "--exclude", "*.pdf", "--exclude", "/noise.*")
    assert (report["removed_files"], report["unchanged_files"]) == (2, 2)
    skipped = [(re.sub(".*/", "", one["source"]), one["reason"]) for one in report["skipped"]]
    assert skipped == [("noise.png", "excluded"), ("three.pdf", "excluded")]
    assert report["skipped_files"] == 2


def test_hits_meet_the_filter_and_are_of_the_kind_that_was_asked_for(store):
    def find(*options):
        result = run("search", store, "a square", "--reranker", "none", "--json", *options)
        assert result.exit_code == 0, result.output
        return [(found["media_type"], found["page"]) for found in json.loads(result.stdout)["results"]]

    assert sorted(find("--media-type", "page", "--where", '{"page": {"$gte": 2}}')) == [("page", 2), ("page", 3)]
    assert sorted(find("--media-type", "text", "--media-type", "image")) == [("image", None)] * 2 + [("text", None)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--where", "{page: 1}"), "not JSON"),
        (("--where", '{"page": {"$near": 1}}'), "$near"),
        (("--media-type", "sound"), "give one of text, image, page, video, mixed"),
        (("--exclude", "*.pdf"), "no effect on an index"),
        (("--max-file-size", "huge"), "such as 2GiB"),
    ],
)
def test_a_wrong_option_of_a_search_is_a_usage_error(store, options, message):
    result = run("search", store, "a", "--reranker", "none", *options)
    assert result.exit_code == 2, result.output
    assert message in " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())


def test_a_folder_is_searched_for_one_kind_without_what_is_excluded(folder):
    models = ("--model", "pocket", "--reranker", "none", "--json")
    options = ("--media-type", "image", "--media-type", "page", "--exclude", "three.*")
    document = json.loads(run("search", folder, "a square", *models, *options).stdout)
    assert {found["source"] for found in document["results"]} == {"noise.png", "red.png"}
    assert document["skipped"] == [{"source": "three.pdf", "reason": "excluded"}]
    assert run("search", folder, "a", "--where", "{}", *models).exit_code == 2


def test_a_store_is_opened_once_for_a_search(store, monkeypatch):
    from qwen3_vl_retrieval.index.store.catalog import Catalog

    opened, initialise = [], Catalog.__init__

    def count(self, path, *rest, **options):
        opened.append(path)
        initialise(self, path, *rest, **options)

    monkeypatch.setattr(Catalog, "__init__", count)
    assert run("search", store, "a square", "--reranker", "none", "--json").exit_code == 0
    assert opened == [store / "catalog.sqlite3"]
