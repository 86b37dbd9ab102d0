"""The page at `/` in a real browser: searched, walked through by keyboard, narrow and wide, and safe from documents."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from headless_browser import CHROMIUM, open_page
from hit_samples import BLUE, RED, find_color
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.server import create_app
from served_apps import serve_app
from small_office import HOSTILE_NAME, HOSTILE_TEXT, SHOWN_NAME, open_office, write_office

KEY = "a-key-of-this-server"
IN_A_BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium, chromium-browser, google-chrome or chrome on the PATH"
)

READY = "document.querySelectorAll('#kinds .chip').length === 4"
FOUND = (
    "document.querySelectorAll('.tile').length > 0 && !document.body.classList.contains('searching')"
    " && [...document.querySelectorAll('.tile img')].every(image => image.classList.contains('shown'))"
)
SAID = "!document.querySelector('#message').hidden"
TITLES = "[...document.querySelectorAll('.tile .name')].map(name => name.textContent)"
FOCUSED = "[...document.querySelectorAll('.tile')].indexOf(document.activeElement)"


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
def url(index):
    with serve_app(create_app(embedder=None, reranker=None, index=index)) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser):
    """The page of a browser, which must have had nothing to complain of at the end."""
    browser.problems.clear()
    browser.requested.clear()
    yield browser
    assert browser.problems == []


def read_text(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def test_the_files_of_the_page_allow_nothing_but_this_server(url):
    for path in ("/", "/page/style.css", "/page/script.js", "/page/icon.svg"):
        response = httpx.get(url + path)
        assert response.status_code == 200
        policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert {value for values in policy.values() for value in values.split()} == {
            "'none'",
            "'self'",
            "blob:",
            "'script'",
        }
        assert response.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", response.text)
        again = httpx.get(url + path, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304


def test_the_script_never_writes_html(url):
    script = httpx.get(f"{url}/page/script.js").text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser", script)
    assert not re.search(r"\son\w+=|<script(?! type=\"module\" src=)|style=", httpx.get(url).text)


@IN_A_BROWSER
def test_a_question_is_typed_and_its_answer_is_the_first_tile(page, url, office):
    page.show(url)
    page.wait_for(READY)
    assert page.evaluate("document.activeElement.id") == "question"
    assert read_text(page, "#summary") == "Pages, images, videos and texts in 8 files"
    page.write(office.question)
    page.press("Enter")
    page.wait_for(FOUND)
    folder, _, name = office.answer.rpartition("/")
    assert page.evaluate(TITLES)[0] == name
    assert read_text(page, ".tile .parent") == folder
    assert read_text(page, ".tile .badge") == f"page {office.page}"
    assert page.evaluate(
        "[...document.querySelectorAll('.tile')].every(t => t.querySelectorAll('.figure').length === 2)"
    )
    assert re.fullmatch(r"12 results in \d+\.\d\d s, ordered by relevance", read_text(page, "#status"))
    assert parse_qs(urlsplit(page.evaluate("location.href")).query) == {"q": [office.question]}
    assert page.evaluate("document.title") == f"{office.question} – Search"
    assert {urlsplit(address).netloc for address in page.requested if address.startswith("http")} == {
        urlsplit(url).netloc
    }
    page.evaluate("document.querySelector('#more').click()")
    page.wait_for("document.querySelectorAll('.tile').length === 13 && document.querySelector('#more').hidden")


@IN_A_BROWSER
def test_a_shared_address_shows_the_same_search_with_its_filters(page, url):
    page.show(f"{url}/?q=anything&kind=page&kind=video&in={quote('pages/invoices-01.pdf')}&from=2&rerank=false")
    page.wait_for(FOUND)
    assert page.evaluate(TITLES) == ["invoices-01.pdf"] * 2
    assert "ordered by similarity" in read_text(page, "#status")
    assert page.evaluate("[...document.querySelectorAll('#kinds [aria-pressed=true]')].map(c => c.dataset.kind)") == [
        "page",
        "video",
    ]
    page.evaluate("document.querySelector('#clear').click()")
    page.wait_for("document.querySelectorAll('.tile').length > 2")
    assert urlsplit(page.evaluate("location.href")).query == "q=anything&rerank=false"
    page.evaluate("history.back()")
    page.wait_for("document.querySelectorAll('.tile').length === 2")
    assert page.evaluate("document.querySelector('#first-page').value") == "2"


@IN_A_BROWSER
def test_the_keyboard_is_enough(page, url, office):
    page.show(f"{url}/?q={quote(office.question)}", width=1280)
    page.wait_for(FOUND)
    page.press("ArrowDown")
    assert page.evaluate(FOCUSED) == 0
    columns = page.evaluate("getComputedStyle(document.querySelector('#hits')).gridTemplateColumns.split(' ').length")
    assert columns >= 3
    for key, place in (
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("End", 11),
    ):
        page.press(key)
        assert page.evaluate(FOCUSED) == place
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Home")
    page.press("Enter")
    page.wait_for("document.querySelector('#viewer').open")
    assert read_text(page, "#viewer-rank") == "1 of 12"
    assert read_text(page, "#viewer-name") == office.answer.rpartition("/")[2]
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert read_text(page, "#viewer-rank") == "3 of 12"
    page.press("ArrowLeft")
    page.press("Escape")
    # The event of a dialog that closes comes after it is closed.
    page.wait_for(f"{FOCUSED} === 1")
    assert not page.evaluate("document.querySelector('#viewer').open")
    page.press("/")
    assert page.evaluate("document.activeElement.id") == "question"
    assert page.evaluate("document.querySelector('#question').value") == office.question


@IN_A_BROWSER
def test_a_large_page_and_the_moments_of_a_video_are_shown(page, url, office):
    page.show(f"{url}/?q={quote(office.question)}")
    page.wait_for(FOUND)
    page.evaluate("document.querySelector('.tile').click()")
    page.wait_for("document.querySelector('#viewer-image').naturalHeight > 1000")
    assert page.evaluate("document.querySelector('#viewer-moment').hidden")
    page.show(f"{url}/?q=x&kind=video&rerank=false")
    page.wait_for(FOUND)
    page.evaluate("document.querySelector('.tile').click()")
    color = (
        "(() => { const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;"
        "const image = document.querySelector('#viewer-image');"
        "const context = canvas.getContext('2d'); context.drawImage(image, 0, 0, 1, 1);"
        "return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]; })()"
    )
    page.wait_for("!document.querySelector('#stage').classList.contains('loading')")
    shown, start = page.evaluate(color), read_text(page, "#moment-time")
    is_first = "00:00-00:04" in read_text(page, "#viewer-place")
    assert find_color(Image.new("RGB", (1, 1), tuple(shown))) == (BLUE if is_first else RED)
    assert start == ("00:02" if is_first else "00:06")
    page.evaluate(
        "(range => { range.value = 0.9; range.dispatchEvent(new Event('input')); })(document.querySelector('#moment'))"
    )
    page.wait_for("!document.querySelector('#stage').classList.contains('loading')")
    assert read_text(page, "#moment-time") > start
    assert any(address.endswith("moment=0.9") for address in page.requested)


@IN_A_BROWSER
def test_why_a_result_was_found_is_drawn_over_it(page, url, office):
    page.show(f"{url}/?q={quote(office.question)}")
    page.wait_for(FOUND)
    page.evaluate("document.querySelector('.tile').click()")
    page.wait_for("document.querySelector('#viewer-image').naturalHeight > 1000")
    page.evaluate("document.querySelector('#explain').click()")
    page.wait_for("document.querySelectorAll('#viewer-marks rect').length > 0")
    assert "score depends on" in read_text(page, "#why")
    # The image is fitted into its element; the frames lie where its pixels are.
    assert page.evaluate(
        "(() => { const image = document.querySelector('#viewer-image'), box = image.getBoundingClientRect();"
        " const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);"
        " const left = (box.width - scale * image.naturalWidth) / 2;"
        " const top = (box.height - scale * image.naturalHeight) / 2;"
        " return [...document.querySelectorAll('#viewer-marks rect')].every(mark => {"
        "  const at = mark.getBoundingClientRect();"
        "  return Math.abs(at.left - box.left - left - scale * mark.x.baseVal.value) < 2"
        "   && Math.abs(at.top - box.top - top - scale * mark.y.baseVal.value) < 2"
        "   && at.width > 4 && at.right <= box.right + 2 && at.bottom <= box.bottom + 2; }); })()"
    )
    page.press("ArrowRight")
    page.wait_for("document.querySelector('#viewer-marks').childElementCount === 0")
    assert read_text(page, "#why") == ""
    page.show(f"{url}/?q=zanzibar&kind=text")
    page.wait_for(FOUND)
    page.evaluate("[...document.querySelectorAll('.tile')].find(t => t.textContent.includes('zanzibar')).click()")
    page.evaluate("document.querySelector('#explain').click()")
    page.wait_for("document.querySelectorAll('#why-regions li').length === 1")
    assert read_text(page, "#why-regions") == "zanzibar"


@IN_A_BROWSER
def test_an_image_is_pasted_searched_with_and_removed(page, url, office):
    content = base64.b64encode((office.folder / "photos" / "photo-01.png").read_bytes()).decode()
    page.show(url)
    page.wait_for(READY)
    page.evaluate(
        f"(() => {{ const bytes = Uint8Array.from(atob('{content}'), letter => letter.charCodeAt(0));"
        "const data = new DataTransfer(); data.items.add(new File([bytes], 'asked.png', { type: 'image/png' }));"
        "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true })); })()"
    )
    page.wait_for(FOUND)
    assert page.evaluate("document.querySelector('#asked-image').naturalWidth > 0")
    assert "photo-01.png" in page.evaluate(TITLES)
    page.evaluate("document.querySelector('#remove-image').click()")
    page.wait_for("document.body.classList.contains('start')")
    assert page.evaluate("document.querySelector('#asked').hidden")
    assert page.evaluate("document.querySelectorAll('.tile').length") == 0


@IN_A_BROWSER
def test_what_documents_are_called_and_say_is_only_ever_text(page, url):
    page.show(f"{url}/?q=zanzibar&kind=text&rerank=false")
    page.wait_for(FOUND)
    assert SHOWN_NAME in page.evaluate(TITLES)
    place = page.evaluate(TITLES).index(SHOWN_NAME)
    assert page.evaluate(f"document.querySelectorAll('.tile .words')[{place}].textContent") == HOSTILE_TEXT
    page.evaluate(f"document.querySelectorAll('.tile')[{place}].click()")
    assert read_text(page, "#viewer-name") == SHOWN_NAME
    assert read_text(page, "#viewer-paper") == HOSTILE_TEXT
    assert (
        page.evaluate("document.querySelectorAll('#hits script, #viewer script, [onerror], #viewer-paper *').length")
        == 0
    )
    page.show(f"{url}/?q={quote(HOSTILE_TEXT)}&in={quote('notes/' + HOSTILE_NAME)}&rerank=false")
    page.wait_for(FOUND)
    assert page.evaluate(TITLES) == [SHOWN_NAME]
    assert page.evaluate("document.title") == f"{HOSTILE_TEXT} – Search"
    assert page.evaluate("document.querySelector('#sources').options.length") == 8 + 4


@IN_A_BROWSER
def test_nothing_found_and_errors_are_said_with_what_to_do(page, url):
    page.show(f"{url}/?q=anything&from=90")
    page.wait_for(SAID)
    assert read_text(page, "#message h2") == "No results"
    assert read_text(page, "#message button") == "Clear filters"
    page.evaluate("document.querySelector('#message button').click()")
    page.wait_for(FOUND)
    page.show(f"{url}/?q=anything&in=nowhere")
    page.wait_for(SAID)
    assert "There is no file and no folder 'nowhere' in this index" in read_text(page, "#message p")
    # The refusal itself, which a browser logs.
    assert [problem for problem in page.problems if "/v1/search" not in problem] == []
    page.problems.clear()


@IN_A_BROWSER
def test_the_key_is_asked_for_and_kept_for_the_tab(page, index, office):
    with serve_app(create_app(embedder=None, reranker=None, index=index, api_keys=[KEY])) as url:
        page.show(f"{url}/?q={quote(office.question)}")
        for key, is_refused in (("wrong", False), (KEY, True)):
            page.wait_for("document.querySelector('#gate').open && document.activeElement.id === 'key'")
            assert page.evaluate("document.querySelector('#gate-error').hidden") is not is_refused
            page.write(key)
            page.press("Enter")
            page.wait_for("document.querySelector('#key').value === ''")
        page.wait_for(FOUND)
        page.show(f"{url}/?q={quote(office.question)}&kind=page")
        page.wait_for(FOUND)
        assert page.evaluate("sessionStorage.length") == 1
        assert page.evaluate("localStorage.length + document.cookie.length") == 0
        page.evaluate("sessionStorage.clear()")
    assert all("401" in problem for problem in page.problems)
    page.problems.clear()


@IN_A_BROWSER
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1600])
def test_every_width_shows_all_of_it_in_both_colours(page, url, office, tmp_path, width, dark):
    page.show(f"{url}/?q={quote(office.question)}", width=width, height=900, dark=dark)
    page.wait_for(FOUND)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "[...document.querySelectorAll('.tile, .go, .field, #rerank')].every(element => {"
        " const box = element.getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth; })"
    )
    page.take_screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as opened:
        pixels = np.asarray(opened.convert("L")).astype(int)
    assert len(np.unique(pixels)) > 50
    # The ground: most of what is seen, and far from the ink.
    assert bool(np.median(pixels[:, :8]) < 60) is dark
    page.evaluate("document.querySelector('.tile').click()")
    page.wait_for("document.querySelector('#viewer-image').naturalHeight > 0")
    assert page.evaluate(
        "(() => { const box = document.querySelector('#viewer').getBoundingClientRect();"
        " return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight; })()"
    )


@IN_A_BROWSER
def test_everything_that_can_be_used_has_a_name_for_screen_readers(page, url, office):
    page.show(f"{url}/?q={quote(office.question)}")
    page.wait_for(FOUND)
    page.evaluate("document.querySelector('.tile').click()")
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    used = [
        node for node in nodes if node.get("role", {}).get("value") in ("button", "textbox", "slider", "dialog", "link")
    ]
    assert len(used) == 5
    assert [node for node in used if not node.get("name", {}).get("value")] == []
    page.press("Escape")
    page.wait_for("!document.querySelector('#viewer').open")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    used = [
        node for node in nodes if node.get("role", {}).get("value") in ("button", "textbox", "combobox", "spinbutton")
    ]
    assert len(used) > 20
    assert [node for node in used if not node.get("name", {}).get("value")] == []
    assert any(
        office.answer in node["name"]["value"] and f"page {office.page}" in node["name"]["value"] for node in used
    )
