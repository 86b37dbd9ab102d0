"""Clients of the Model Context Protocol find pages and open them, over standard input and HTTP, within a budget."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from PIL import Image

from hit_samples import BLUE, RED, find_color
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.server.mcp import build_mcp_server
from qwen3_vl_retrieval.server.token_budget import fit_texts, share_image_tokens
from small_office import NOTE, SHOWN_NAME, open_office, write_office

KEY = "a-key-of-this-server"
COMMAND = str(Path(sys.executable).with_name("qwen3vl"))
OPTIONS = ("--reranker", "none", "--device", "cpu")


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    return write_office(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def index(office):
    embedder = Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")
    reranker = Qwen3VLReranker.from_pretrained("pocket", device="cpu", dtype="float32")
    with open_office(office, office.folder.parent / "store", embedder, reranker) as index:
        yield index


@pytest.fixture(scope="module")
def store(index):
    return str(index.store.layout.folder)


@pytest.fixture(scope="module")
def server(index):
    return build_mcp_server(index)


async def call(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.content


async def refuse(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    (content,) = result.content
    return content.text


def find_ids(content):
    texts = [one.text for one in content if one.type == "text"]
    return [line.split()[1] for text in texts for line in text.splitlines() if line.startswith("id: ")]


def open_images(content):
    images = [one for one in content if one.type == "image"]
    assert {one.mime_type for one in images} <= {"image/jpeg"}
    return [Image.open(io.BytesIO(base64.b64decode(one.data))).convert("RGB") for one in images]


def count_tokens(content):
    """As a client does that counts four characters as a token, whatever they are."""
    return sum(len(one.text if one.type == "text" else one.data) for one in content) / 4


async def check_search_and_open(client, office):
    """A page is found by what it shows, and opened by its id."""
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == ["search", "open", "list_sources"]
    assert all(tool.annotations.read_only_hint and not tool.annotations.open_world_hint for tool in tools)
    found = await call(client, "search", query=office.question, k=3)
    assert found[1].text.startswith(f"[1] {office.answer}, page {office.page}\nid: ")
    assert "similarity 0." in found[1].text
    assert found[2].type == "image"
    opened = await call(client, "open", id=find_ids(found)[0])
    assert opened[0].text.startswith(f"{office.answer}, page {office.page}\n")
    (large,), small = open_images(opened), open_images(found)[0]
    assert max(small.size) <= 512 < max(large.size)


async def test_a_client_of_the_command_finds_a_page_and_opens_it_over_standard_input(office, store, tmp_path):
    strays = []

    async def note(message):
        # A line on standard output that is not of the protocol arrives as the error of reading it.
        if isinstance(message, Exception):
            strays.append(message)

    parameters = StdioServerParameters(command=COMMAND, args=["mcp", store, *OPTIONS], env={"HF_HUB_OFFLINE": "1"})
    with (tmp_path / "stderr").open("w+") as errors:
        async with Client(stdio_client(parameters, errlog=errors), message_handler=note) as client:
            assert client.server_info.name == "qwen3vl"
            await check_search_and_open(client, office)
            assert "no unit with the id" in await refuse(client, "open", id="0" * 40)
            assert "paths" in await refuse(client, "open", id=str(office.folder / "notes" / "kettle.txt"))
        errors.seek(0)
        assert errors.read().splitlines() == ["qwen3vl mcp: loading the models …", "qwen3vl mcp: ready, with 13 units"]
    assert strays == []


async def test_a_client_over_http_finds_a_page_and_opens_it_and_needs_the_key(office, store, tmp_path):
    (tmp_path / "keys").write_text(f"# of this server\n{KEY}\n")
    arguments = [COMMAND, "mcp", store, *OPTIONS, "--http", "--port", "0", "--api-key-file", str(tmp_path / "keys")]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            running = next(line for line in process.stderr if "running on" in line)
            url = re.search(r"http://127\.0\.0\.1:\d+", running)[0] + "/mcp"
            headers = {"Authorization": f"Bearer {KEY}"}
            async with create_mcp_http_client(headers=headers) as http:
                async with Client(streamable_http_client(url, http_client=http)) as client:
                    await check_search_and_open(client, office)
                    assert "paths" in await refuse(client, "open", id="/etc/passwd")
                # As a page of another site would send it, whose name leads to this machine.
                assert (await http.post(url, json={}, headers={"Host": "evil.example"})).status_code == 421
            async with create_mcp_http_client() as http:
                assert (await http.post(url, json={})).status_code == 401
        finally:
            process.terminate()
            process.wait()
        assert process.stdout.read() == ""


async def test_hits_hold_text_source_page_or_time_scores_and_one_small_image_each(server, office):
    async with Client(server) as client:
        found = await call(client, "search", query=office.question, k=13)
        assert found[0].text == "13 hits, ordered by relevance."
        texts = [one.text for one in found[1:] if one.type == "text"]
        assert len(texts) == 13
        assert all("scores: relevance " in text and ", similarity " in text for text in texts)
        assert len([text for text in texts if "clips/turning.mp4, 00:04-00:08" in text]) == 1
        (kettle,) = [text for text in texts if "notes/kettle.txt" in text]
        assert kettle.endswith(f"text: {NOTE.strip()}")
        # Each image follows the hit that it belongs to; texts need none.
        for one, other in zip(found, [*found[1:], found[0]], strict=True):
            if one.type == "image":
                assert other.type == "text"
        assert len(open_images(found)) == 11
        assert count_tokens(found) <= 20_000
        without = await call(client, "search", query=office.question, k=13, include_images=False)
        assert open_images(without) == []


async def test_an_attached_image_and_filters_narrow_the_search(server, office):
    content = base64.b64encode((office.folder / "photos" / "photo-01.png").read_bytes()).decode()
    async with Client(server) as client:
        for image in (content, f"data:image/png;base64,{content}"):
            found = await call(client, "search", image=image, k=2, media_types=["image"])
            assert any("photos/photo-01.png" in one.text for one in found[:2] if one.type == "text")
        paged = await call(client, "search", query="x", k=20, first_page=3, last_page=3, include_images=False)
        assert paged[0].text.startswith("1 hit,")
        assert "pages/invoices-01.pdf, page 3" in paged[1].text
        named = await call(client, "search", query="x", sources=["notes/"], include_images=False)
        assert {text.text.splitlines()[0][4:] for text in named[1:]} == {"notes/kettle.txt", f"notes/{SHOWN_NAME}"}
        nothing = await call(client, "search", query="x", first_page=90)
        assert [one.text for one in nothing] == ["No hits: nothing meets these filters."]


@pytest.mark.parametrize("max_tokens", [200, 600, 1_200, 1_900, 5_000, 20_000])
async def test_an_answer_stays_within_its_budget_and_says_what_is_missing(server, office, max_tokens):
    async with Client(server) as client:
        found = await call(client, "search", query=office.question, k=13, max_tokens=max_tokens)
        assert count_tokens(found) <= max_tokens
        assert open_images(found) or max_tokens < 5_000
        assert (f"max_tokens={max_tokens}" in found[0].text) is (max_tokens < 20_000)
        opened = await call(client, "open", id=find_ids(found)[0], max_tokens=max_tokens)
        assert count_tokens(opened) <= max_tokens
        assert f"max_tokens was {max_tokens}" in opened[0].text or max_tokens == 20_000


async def test_images_are_left_out_before_texts_are_shortened(server):
    async with Client(server) as client:
        plenty = await call(client, "search", query="orange kettle", k=13, max_tokens=1_100)
        assert "images were left out" in plenty[0].text
        assert "texts were shortened" not in plenty[0].text
        assert any(NOTE.strip() in one.text for one in plenty if one.type == "text")
        scarce = await call(client, "search", query="orange kettle", k=13, max_tokens=650)
        assert "11 of 11 images were left out and texts were shortened" in scarce[0].text
        assert not any(NOTE.strip() in one.text for one in scarce if one.type == "text")
        assert any("text: The orange kettle" in one.text and one.text.endswith("…") for one in scarce)
        scarcest = await call(client, "search", query="orange kettle", k=13, max_tokens=200)
        assert scarcest[0].text.startswith("The first ")


async def test_open_shows_the_moment_of_a_video_and_all_of_a_text(server):
    async with Client(server) as client:
        found = await call(client, "search", query="x", media_types=["video"], k=2)
        places = {
            one.text.splitlines()[0].split(", ")[1]: find_ids([one])[0] for one in found[1:] if one.type == "text"
        }
        for place, color in (("00:00-00:04", BLUE), ("00:04-00:08", RED)):
            (image,) = open_images(await call(client, "open", id=places[place], moment=0.9))
            assert find_color(image) == color
        found = await call(client, "search", query="orange kettle", media_types=["text"], k=2)
        kettle = next(one for one in found if "kettle.txt" in one.text and "id: " in one.text)
        (opened,) = await call(client, "open", id=find_ids([kettle])[0])
        assert opened.text.endswith(NOTE.strip())


async def test_files_are_listed_in_parts(server):
    async with Client(server) as client:
        (first,) = await call(client, "list_sources", limit=5)
        lines = first.text.splitlines()
        assert lines[0] == "Files 1 to 5 of 8."
        assert lines[1] == "clips/turning.mp4 (2 × video)"
        assert lines[-1] == "For the next, call list_sources with offset=5."
        (rest,) = await call(client, "list_sources", offset=5)
        assert rest.text.startswith("Files 6 to 8 of 8.")
        assert "offset=" not in rest.text
        (none,) = await call(client, "list_sources", offset=8)
        assert none.text == "No more files: there are 8."


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("open", {"id": "/etc/passwd"}, "no unit with the id '/etc/passwd'"),
        ("open", {"id": "notes/kettle.txt"}, "paths, names and URLs are not opened"),
        ("open", {"id": "https://example.org/a.png"}, "paths, names and URLs are not opened"),
        ("open", {"id": "\udce9"}, "no unit with the id"),
        ("open", {"id": ""}, "no unit with the id"),
        ("search", {}, "the question is empty"),
        ("search", {"image": "/etc/passwd"}, "opens no paths"),
        ("search", {"image": "https://example.org/a.png"}, "fetches no URLs"),
        ("search", {"query": "x", "sources": ["/etc/passwd"]}, "paths and URLs are not taken"),
        ("search", {"query": "x", "sources": ["nowhere"]}, "no file and no folder 'nowhere'"),
        ("search", {"query": "x", "k": 0}, "greater than or equal to 1"),
        ("search", {"query": "x", "max_tokens": 10}, "greater than or equal to 200"),
        ("search", {"query": "x", "media_types": ["film"]}, "media_types"),
    ],
)
async def test_what_cannot_be_done_is_a_clear_tool_error_without_a_path(server, office, tool, arguments, named):
    async with Client(server) as client:
        message = await refuse(client, tool, **arguments)
    assert named in message
    assert str(office.folder.parent) not in message


async def test_a_file_that_is_gone_is_said_so_without_its_path(server, office):
    note = office.folder / "photos" / "photo-02.png"
    content = note.read_bytes()
    async with Client(server) as client:
        found = await call(client, "search", query="x", sources=["photos/photo-02.png"])
        (gone,) = find_ids(found)
        note.unlink()
        try:
            message = await refuse(client, "open", id=gone)
            lost = await call(client, "search", query="x", sources=["photos/photo-02.png"])
        finally:
            note.write_bytes(content)
    assert "can no longer be read" in message
    assert str(office.folder.parent) not in message
    assert lost[0].text.startswith("No hits")
    assert "1 more took no part" in lost[0].text


def test_texts_are_cut_to_one_length_from_the_longest_down():
    assert fit_texts(["a" * 40, "b" * 4000, "c" * 4000], 1010)[0] == "a" * 40
    cut = fit_texts(["a" * 40, "b" * 4000, "c" * 4000], 1010)
    assert [len(text) for text in cut] == [40, 2000, 2000]
    assert cut[1] == "b" * 1999 + "…"
    assert fit_texts(["a" * 400], 100) == ["a" * 400]
    assert fit_texts(["a" * 401], 100) == ["a" * 399 + "…"]
    assert fit_texts(["a" * 4000, "b" * 4000], 20) == ["", ""]
    assert fit_texts(["a" * 4000], -5) == [""]


def test_images_share_what_is_left_and_none_is_smaller_than_can_be_seen():
    assert (share := share_image_tokens(5, 10_000, most_bytes=24_000)).count == 5
    assert share.max_bytes == 6_000
    assert share_image_tokens(5, 2_500, most_bytes=24_000).count == 2
    assert share_image_tokens(5, 999, most_bytes=24_000).count == 0
    assert share_image_tokens(1, 100_000, most_bytes=24_000).max_bytes == 24_000
    assert share_image_tokens(0, 100_000, most_bytes=24_000).count == 0
