"""The page of `qwen3vl eval label`: what a click saves, what a restart shows, who is refused; in a browser, too."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from headless_browser import CHROMIUM, open_page
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.evaluation import RunOptions, evaluate_index, read_questions
from qwen3_vl_retrieval.evaluation.question_file import QuestionFile
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.labelling.app import create_label_app
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker
from served_apps import serve_app
from small_office import HOSTILE_NAME, HOSTILE_TEXT, SHOWN_NAME

IN_A_BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium, chromium-browser, google-chrome or chrome on the PATH"
)

DRAFTS = [
    {
        "id": "draft-1",
        "text": "where does the red mug stand",
        "language": "en",
        "relevant": [{"source": "notes/mug.txt", "grade": 2}],
        "model": "openai:gpt-4o",
        "draft": True,
    },
    {"id": "draft-2", "text": "zanzibar", "relevant": ["notes/lamp.txt"], "model": "<b>model</b>", "draft": True},
    {"id": "by-hand", "text": "a red square", "image": "asked.png", "relevant": ["red.png"], "note": "from Ada"},
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    files = root / "files"
    (files / "notes").mkdir(parents=True)
    for thing in ("mug", "lamp", "chair", "door"):
        (files / "notes" / f"{thing}.txt").write_text(f"The red {thing} stands in the hall of the {thing} maker.")
    (files / "notes" / HOSTILE_NAME).write_text(HOSTILE_TEXT)
    for color in ("red", "blue"):
        Image.new("RGB", (120, 90), color).save(files / f"{color}.png")
    with MultimodalIndex.open(root / "store", FakeEmbedder(), FakeReranker()) as opened:
        opened.add(files)
        yield opened


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in DRAFTS))
    Image.new("RGB", (64, 64), "red").save(tmp_path / "asked.png")
    return path


@pytest.fixture
def url(index, questions):
    with serve_app(create_label_app(index, questions)) as url:
        yield url


def read_lines(path):
    return {one["id"]: one for one in map(json.loads, path.read_text().splitlines())}


def list_candidates(url, question):
    found = httpx.get(f"{url}/v1/label/candidates", params={"question": question}).raise_for_status().json()
    return {one["hit"]["source"]: one for one in found["candidates"]}


def test_a_click_is_in_the_file_and_a_restart_shows_it(index, questions, url):
    candidates = list_candidates(url, "draft-1")
    assert candidates["notes/mug.txt"]["grade"] == 2
    assert candidates["notes/door.txt"]["grade"] is None
    for source, grade in (("notes/door.txt", 0), ("notes/lamp.txt", 1), ("notes/mug.txt", 1), ("notes/lamp.txt", None)):
        body = {"question": "draft-1", "unit": candidates[source]["hit"]["id"], "grade": grade}
        answer = httpx.post(f"{url}/v1/label/judge", json=body)
        assert answer.status_code == 200, answer.text
    changed = httpx.post(
        f"{url}/v1/label/change",
        json={"question": "draft-1", "text": " where is  the mug ", "language": "", "status": "accepted"},
    )
    assert changed.json()["status"] == "accepted"
    lines = read_lines(questions)
    assert lines["draft-1"] == {
        "id": "draft-1",
        "text": "where is the mug",
        "relevant": [{"source": "notes/mug.txt", "grade": 1}, {"source": "notes/door.txt", "grade": 0}],
        "model": "openai:gpt-4o",
    }
    # What nobody has touched is what it was.
    assert (lines["draft-2"], lines["by-hand"]) == (DRAFTS[1], DRAFTS[2])
    with serve_app(create_label_app(index, questions)) as again:
        listed = httpx.get(f"{again}/v1/label/questions").json()
        assert [one["status"] for one in listed["questions"]] == ["accepted", "draft", "accepted"]
        assert listed["file"].endswith("questions.jsonl")
        grades = {source: one["grade"] for source, one in list_candidates(again, "draft-1").items()}
        assert (grades["notes/door.txt"], grades["notes/mug.txt"], grades["notes/lamp.txt"]) == (0, 1, None)
    evaluation = evaluate_index(index, read_questions(questions), RunOptions(depths=()))
    assert evaluation.questions[0].grades == {"notes/mug.txt": 1, "notes/door.txt": 0}


def test_a_rejected_question_is_not_asked_and_can_be_taken_back(questions, url):
    for status, asked in (("rejected", 2), ("draft", 3)):
        httpx.post(f"{url}/v1/label/change", json={"question": "draft-2", "status": status}).raise_for_status()
        assert len(read_questions(questions)) == asked
    assert read_lines(questions)["draft-2"] == DRAFTS[1]


def test_a_question_of_ones_own_needs_an_answer_before_it_is_accepted(questions, url):
    added = httpx.post(f"{url}/v1/label/questions", json={"text": "a blue door", "language": "en"}).json()
    assert (added["status"], added["answers"]) == ("draft", 0)
    # It has no answer yet, and the others are measured without it.
    assert read_questions(questions).unjudged == 1
    accept = {"question": added["id"], "status": "accepted"}
    refused = httpx.post(f"{url}/v1/label/change", json=accept)
    assert refused.status_code == 400
    assert "nothing answers this question yet" in refused.json()["error"]["message"]
    unit = list_candidates(url, added["id"])["notes/door.txt"]["hit"]["id"]
    httpx.post(f"{url}/v1/label/judge", json={"question": added["id"], "unit": unit, "grade": 2}).raise_for_status()
    assert httpx.post(f"{url}/v1/label/change", json=accept).json()["status"] == "accepted"
    assert read_lines(questions)[added["id"]] == {
        "id": added["id"],
        "text": "a blue door",
        "language": "en",
        "relevant": [{"source": "notes/door.txt", "grade": 2}],
    }


def test_candidates_are_pooled_and_in_an_order_that_says_nothing(index, url):
    found = httpx.get(f"{url}/v1/label/candidates", params={"question": "draft-2"}).json()["candidates"]
    ids = [one["hit"]["id"] for one in found]
    assert ids == sorted(ids)
    assert {hit.id for hit in index.search("zanzibar", k=7)} <= set(ids)
    assert all(one["hit"]["relevance_score"] is not None for one in found)
    image = httpx.get(url + list_candidates(url, "draft-2")["red.png"]["hit"]["thumbnail_url"])
    assert image.headers["content-type"] == "image/jpeg"
    asked = httpx.get(f"{url}/v1/label/image", params={"question": "by-hand"})
    assert asked.headers["content-type"] == "image/jpeg"
    assert httpx.get(f"{url}/v1/label/image", params={"question": "draft-1"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"question": "none", "unit": "x", "grade": 1}, 400, "there is no unit 'x' in this index"),
        ({"question": "draft-1", "unit": "x", "grade": 3}, 422, "less than or equal to 2"),
        ({"question": "draft-1", "unit": "x"}, 422, "Field required"),
        ({"question": "draft-1", "unit": "x", "grade": 1, "path": "/etc/passwd"}, 422, "Extra inputs"),
    ],
)
def test_what_cannot_be_saved_is_refused(questions, url, body, status, message):
    before = questions.read_bytes()
    answer = httpx.post(f"{url}/v1/label/judge", json=body)
    assert answer.status_code == status
    assert message in answer.text
    assert questions.read_bytes() == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "evil.example:8090"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 422),
    ],
    ids=lambda value: str(value),
)
def test_other_hosts_and_other_sites_change_nothing(questions, url, headers, status):
    before = questions.read_bytes()
    content = json.dumps({"question": "draft-2", "status": "rejected"})
    sent = {"Content-Type": "application/json"} | headers
    assert httpx.post(f"{url}/v1/label/change", content=content, headers=sent).status_code == status
    assert questions.read_bytes() == before


def test_other_sites_read_nothing_but_may_link_here(url):
    for path in ("/v1/label/questions", "/label"):
        embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert httpx.get(url + path, headers=embedded).status_code == 403
        assert httpx.get(url + path, headers={"Host": "evil.example"}).status_code == 400
    followed = httpx.get(f"{url}/label", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert followed.status_code == 200
    assert "frame-ancestors 'none'" in followed.headers["content-security-policy"]
    assert "access-control-allow-origin" not in followed.headers


def test_people_and_programs_that_write_at_the_same_time_lose_nothing(questions):
    files = [QuestionFile(questions), QuestionFile(questions)]

    def write(number):
        file = files[number % 2]
        if number % 3:
            file.add({"id": f"new-{number}", "text": "x", "relevant": [], "draft": True})
        else:
            file.change("draft-1", lambda question, _: {"tags": [*question.tags, str(number)]})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(24)))
    lines = read_lines(questions)
    assert len(lines) == len(DRAFTS) + 16
    assert sorted(map(int, lines["draft-1"]["tags"])) == list(range(0, 24, 3))
    with pytest.raises(InputError, match="is that of another question"):
        files[0].add(dict(DRAFTS[0]))


def test_a_broken_file_is_named_before_the_page_is_served(index, questions):
    questions.write_text(questions.read_text() + "{")
    with pytest.raises(InputError, match=r"questions.jsonl, line 4: not JSON"):
        create_label_app(index, questions)


def test_the_script_never_writes_html_and_fetches_nothing_from_elsewhere(url):
    script, page = httpx.get(f"{url}/label/script.js").text, httpx.get(f"{url}/label").text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function|DOMParser", script)
    assert not re.search(r"\son\w+=|<script(?! type=\"module\" src=)|style=", page)
    assert not re.search(r"https?://", script + page + httpx.get(f"{url}/label/style.css").text)


LOADED = (
    "document.querySelectorAll('.candidate').length > 0"
    " && !document.querySelector('#candidates').hasAttribute('aria-busy')"
)
FOCUSED = "[...document.querySelectorAll('.candidate')].indexOf(document.activeElement)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser, url):
    """The page of a browser, which must have had nothing to complain of at the end."""
    browser.problems.clear()
    browser.show(f"{url}/label", width=1280)
    browser.wait_for(LOADED)
    yield browser
    # The question is gone before its server is.
    browser.show("about:blank")
    assert browser.problems == []


def find_tile(page, source):
    name = source.rpartition("/")[2]
    return page.evaluate(
        f"[...document.querySelectorAll('.candidate .name')].findIndex(n => n.textContent === {name!r})"
    )


@IN_A_BROWSER
def test_a_click_judges_and_shows_that_it_is_saved(page, questions):
    assert page.evaluate("document.querySelector('#counted').textContent") == "1 of 3 judged"
    assert page.evaluate("document.querySelector('#file').textContent").endswith("questions.jsonl")
    place = find_tile(page, "notes/door.txt")
    scores = f"document.querySelectorAll('.candidate .scores-said')[{place}].textContent"
    assert page.evaluate(scores) == ""
    page.evaluate(f"document.querySelectorAll('.candidate')[{place}].querySelector('[data-grade=\"0\"]').click()")
    page.wait_for("document.querySelector('#saved').textContent.startsWith('Saved at')")
    assert {"source": "notes/door.txt", "grade": 0} in read_lines(questions)["draft-1"]["relevant"]
    assert page.evaluate(scores).startswith("relevance ")
    page.evaluate("document.querySelector('#accept').click()")
    page.wait_for("document.querySelector('#counted').textContent === '2 of 3 judged'")
    assert "draft" not in read_lines(questions)["draft-1"]
    # On to the next one that nobody has checked.
    page.wait_for("document.querySelector('#text').value === 'zanzibar'")
    page.wait_for(LOADED)
    assert SHOWN_NAME in page.evaluate("[...document.querySelectorAll('.candidate .name')].map(n => n.textContent)")
    assert page.evaluate("document.querySelector('#origin').textContent") == "written by <b>model</b>"
    assert page.evaluate("document.querySelectorAll('#candidates script, #origin b, [onerror]').length") == 0


@IN_A_BROWSER
def test_the_keyboard_is_enough(page, questions):
    page.evaluate("document.activeElement.blur()")
    page.press("n")
    page.write("what is blue")
    page.evaluate("document.querySelector('#adding-form').requestSubmit()")
    page.wait_for("document.querySelector('#text').value === 'what is blue'")
    page.wait_for(LOADED)
    page.wait_for(f"{FOCUSED} === 0")
    place = find_tile(page, "blue.png")
    for _ in range(place):
        page.press("ArrowRight")
    assert page.evaluate(FOCUSED) == place
    page.press("2")
    page.press("Enter")
    page.wait_for("document.querySelector('#viewer').open")
    assert page.evaluate("document.querySelector('#viewer-name').textContent") == "blue.png"
    page.wait_for("document.querySelector('#viewer-image').naturalWidth > 0")
    page.press("Escape")
    page.wait_for(f"{FOCUSED} === {place}")
    page.press("a")
    page.wait_for("document.querySelector('#counted').textContent === '2 of 4 judged'")
    own = next(one for name, one in read_lines(questions).items() if name.startswith("own-"))
    assert own["relevant"] == [{"source": "blue.png", "grade": 2}]
    assert "draft" not in own


@IN_A_BROWSER
def test_what_was_not_saved_is_said_and_shown_as_it_is_in_the_file(page, questions):
    questions.write_text("{")
    place = find_tile(page, "notes/door.txt")
    button = f"document.querySelectorAll('.candidate')[{place}].querySelector('[data-grade=\"2\"]')"
    page.evaluate(f"{button}.click()")
    page.wait_for("!document.querySelector('#message').hidden")
    assert "not JSON" in page.evaluate("document.querySelector('#message p').textContent")
    assert page.evaluate("document.querySelector('#saved').textContent") == "NOT saved"
    assert page.evaluate(f"{button}.getAttribute('aria-pressed')") == "false"
    # The refusal itself, which a browser logs.
    assert all("/v1/label/judge" in problem for problem in page.problems)
    page.problems.clear()


@IN_A_BROWSER
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_width_shows_all_of_it_in_both_colours(page, url, tmp_path, width, dark):
    page.show(f"{url}/label", width=width, height=900, dark=dark)
    page.wait_for(LOADED)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "[...document.querySelectorAll('.candidate, .grades button, #accept, #text, #more-query')].every(element => {"
        " const box = element.getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth; })"
    )
    page.take_screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as opened:
        pixels = np.asarray(opened.convert("L")).astype(int)
    assert bool(np.median(pixels[:, :8]) < 60) is dark


@IN_A_BROWSER
def test_everything_that_can_be_used_has_a_name_for_screen_readers(page):
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "textbox", "searchbox", "combobox", "link", "article", "group")
    used = [node for node in nodes if node.get("role", {}).get("value") in roles and not node.get("ignored")]
    assert len(used) > 30
    assert [node for node in used if not node.get("name", {}).get("value")] == []
