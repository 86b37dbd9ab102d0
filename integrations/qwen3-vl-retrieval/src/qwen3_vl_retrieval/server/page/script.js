// The page at `/`: asks `/v1/search` and shows what it answers.
//
// Names and texts come from documents that nobody checked: they are only ever set as text, never as HTML.

import { KIND_NAMES, ServerError, describePlace, find, make, readReason, showName, splitName } from "./elements.js";

const KINDS = { page: "Pages", image: "Images", video: "Videos", text: "Texts", mixed: "Mixed" };
const ASK = "Ask, or drop an image";
const FIRST_HITS = 12;
const MOST_HITS = 96;
const GHOSTS = 8;
const MOST_IMAGE_BYTES = 30_000_000;
const SLOW_MILLISECONDS = 3000;
const LISTED_SOURCES = 1000;
const KEY = "qwen3vl-api-key";

const question = find("question");
const hitList = find("hits");
const viewer = find("viewer");
const gate = find("gate");

/** What is asked: shown in the controls and, but for the image, in the address. */
const asked = { image: null, kinds: new Set(), hits: FIRST_HITS };
/** What was answered. */
const answer = { body: {}, hits: [], shown: -1, abort: null, urls: new Map() };
const index = { kinds: {}, hasReranker: false };

// Talking to the server

async function request(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers, credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("The server does not answer. It may have been stopped, or the network is down.");
    }
    if (response.status === 401) {
      await askForKey(key);
      continue;
    }
    if (!response.ok) throw new ServerError(await readReason(response));
    return response;
  }
}

/** One dialog for all requests that wait for the key. */
let gateOpened = null;

function askForKey(refused) {
  // Another request may have been given the key since.
  if (sessionStorage.getItem(KEY) !== refused) return Promise.resolve();
  gateOpened ??= new Promise((resolve, reject) => {
    sessionStorage.removeItem(KEY);
    find("gate-error").hidden = !refused;
    find("key").value = "";
    gate.returnValue = "";
    gate.showModal();
    gate.addEventListener(
      "close",
      () => {
        gateOpened = null;
        const key = find("key").value.trim();
        find("key").value = "";
        if (gate.returnValue !== "given" || !key) {
          reject(new ServerError("This server asks for its key, and none was given."));
          return;
        }
        sessionStorage.setItem(KEY, key);
        resolve();
      },
      { once: true },
    );
  });
  return gateOpened;
}

find("gate-form").addEventListener("submit", () => {
  gate.returnValue = "given";
  gate.close("given");
});
find("gate-cancel").addEventListener("click", () => gate.close(""));

/** Images may need the key, which an address cannot carry: so they are fetched. */
function loadImage(path) {
  if (!answer.urls.has(path)) {
    const loading = request(path).then(async (response) => URL.createObjectURL(await response.blob()));
    loading.catch(() => answer.urls.delete(path));
    answer.urls.set(path, loading);
  }
  return answer.urls.get(path);
}

function releaseImages() {
  for (const loading of answer.urls.values()) loading.then(URL.revokeObjectURL, () => {});
  answer.urls.clear();
}

// Making elements

function makeFigure(label, value, kind, tag = "span") {
  const meter = make("span", { className: "meter", "aria-hidden": "true" }, make("i"));
  meter.firstChild.style.setProperty("--share", Math.min(1, Math.max(0, value)).toFixed(4));
  const name = make(tag === "div" ? "dt" : "span", { text: label });
  const number = make(tag === "div" ? "dd" : "b", { text: value.toFixed(3) });
  return make(tag, { className: `figure ${kind}` }, name, meter, number);
}

function listFigures(hit, tag) {
  const figures = [makeFigure("similarity", hit.similarity_score, "similarity", tag)];
  if (hit.relevance_score !== null) figures.unshift(makeFigure("relevance", hit.relevance_score, "relevance", tag));
  return figures;
}

function describeHit(hit) {
  const scores = [`similarity ${hit.similarity_score.toFixed(2)}`];
  if (hit.relevance_score !== null) scores.unshift(`relevance ${hit.relevance_score.toFixed(2)}`);
  const parts = [`${hit.rank}: ${KIND_NAMES[hit.media_type]} ${showName(hit.source)}`, hit.place, ...scores];
  return parts.filter(Boolean).join(", ");
}

// Results

function makeTile(hit) {
  const [name, parent] = splitName(hit.source);
  const view = make("span", { className: "view" });
  if (hit.media_type === "text") {
    view.classList.add("note");
    view.append(make("span", { className: "words", dir: "auto", text: hit.text ?? "" }));
  } else {
    const image = make("img", { alt: "" });
    view.append(image);
    loadImage(hit.thumbnail_url).then(
      (url) => {
        image.addEventListener("load", () => image.classList.add("shown"), { once: true });
        image.src = url;
      },
      () => image.replaceWith(make("span", { className: "unreadable", text: "can no longer be shown" })),
    );
  }
  const place = describePlace(hit);
  if (place) view.append(make("span", { className: "badge", text: place }));
  const isShown = hit.text && hit.media_type !== "text";
  const caption = make(
    "span",
    { className: "caption" },
    make("span", { className: "name", dir: "auto", text: name }),
    parent ? make("span", { className: "parent", dir: "auto", text: parent }) : null,
    isShown ? make("span", { className: "excerpt", dir: "auto", text: hit.text.slice(0, 240) }) : null,
    make("span", { className: "figures" }, ...listFigures(hit, "span")),
  );
  const tile = make("button", { className: "tile", type: "button", "aria-label": describeHit(hit) }, view, caption);
  tile.addEventListener("click", () => openViewer(hit.rank - 1));
  return make("li", {}, tile);
}

/** Where a result will be. */
function makeGhost() {
  return make("li", { className: "ghost", "aria-hidden": "true" });
}

function showResults(found) {
  releaseImages();
  answer.hits = found.results;
  hitList.replaceChildren(...found.results.map(makeTile));
  listTiles().forEach((tile, place) => {
    tile.tabIndex = place === 0 ? 0 : -1;
  });
  const count = found.results.length;
  const order = found.is_reranked ? "relevance" : "similarity";
  const counted = count === 1 ? "1 result" : `${count} results`;
  find("status").textContent = count ? `${counted} in ${found.seconds.toFixed(2)} s, ordered by ${order}` : "";
  find("more").hidden = count < asked.hits || asked.hits >= MOST_HITS;
  showFailures(found.failures);
  if (!count) {
    const isNarrow = hasFilters();
    const advice = isNarrow ? "Nothing meets these filters. Clear them, or ask in other words." : "The index is empty.";
    showMessage("No results", advice, isNarrow ? ["Clear filters", clearFilters] : null);
  }
}

function showFailures(failures) {
  const box = find("failures");
  box.hidden = failures.length === 0;
  const counted = failures.length === 1 ? "1 more took no part" : `${failures.length} more took no part`;
  box.querySelector("summary").textContent = counted;
  const rows = failures.map((one) => {
    const place = one.page === null ? "" : `, page ${one.page}`;
    return make("li", {}, make("b", { dir: "auto", text: showName(one.source) + place }), ` ${one.reason}`);
  });
  box.querySelector("ul").replaceChildren(...rows);
}

function showMessage(title, text, action = null) {
  const box = find("message");
  box.hidden = false;
  box.querySelector("h2").textContent = title;
  // Messages of the server begin in lower case.
  box.querySelector("p").textContent = text.charAt(0).toUpperCase() + text.slice(1);
  const button = box.querySelector("button");
  button.hidden = action === null;
  if (action !== null) {
    button.textContent = action[0];
    button.onclick = action[1];
  }
}

function clearResults() {
  releaseImages();
  answer.hits = [];
  hitList.replaceChildren();
  find("status").textContent = "";
  find("more").hidden = true;
  find("failures").hidden = true;
  find("message").hidden = true;
}

// Searching

function buildBody() {
  const body = { query: question.value.trim(), k: asked.hits };
  if (asked.image) body.image = asked.image;
  if (asked.kinds.size) body.media_types = [...asked.kinds];
  if (find("source").value.trim()) body.sources = [find("source").value.trim()];
  const pages = {};
  if (find("first-page").value) pages.$gte = Number(find("first-page").value);
  if (find("last-page").value) pages.$lte = Number(find("last-page").value);
  if (Object.keys(pages).length) body.filter = { page: pages };
  if (index.hasReranker) body.rerank = find("rerank").getAttribute("aria-pressed") === "true";
  return body;
}

async function postSearch(body, signal = null) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body), signal };
  return (await request("/v1/search", options)).json();
}

async function search({ keep = false } = {}) {
  answer.abort?.abort();
  if (!question.value.trim() && !asked.image) {
    document.body.classList.add("start");
    document.title = "Search";
    clearResults();
    return;
  }
  if (!keep) asked.hits = FIRST_HITS;
  const abort = new AbortController();
  answer.abort = abort;
  document.body.classList.remove("start");
  document.body.classList.add("searching");
  document.title = question.value.trim() ? `${question.value.trim()} – Search` : "Search by image";
  find("message").hidden = true;
  find("progress").hidden = false;
  find("status").textContent = "Searching …";
  hitList.setAttribute("aria-busy", "true");
  if (!answer.hits.length) hitList.replaceChildren(...Array.from({ length: GHOSTS }, makeGhost));
  const slow = setTimeout(() => {
    find("status").textContent = "Searching … The first search after the start takes longest.";
  }, SLOW_MILLISECONDS);
  try {
    const body = buildBody();
    const found = await postSearch(body, abort.signal);
    if (answer.abort !== abort) return;
    answer.body = body;
    showResults(found);
  } catch (error) {
    if (error.name === "AbortError" || answer.abort !== abort) return;
    clearResults();
    showMessage("This search did not work", error.message, ["Try again", () => search({ keep: true })]);
  } finally {
    clearTimeout(slow);
    if (answer.abort === abort) {
      document.body.classList.remove("searching");
      hitList.removeAttribute("aria-busy");
      find("progress").hidden = true;
    }
  }
}

// The address: a search can be shared, but for its image

function writeAddress() {
  const parameters = new URLSearchParams();
  if (question.value.trim()) parameters.set("q", question.value.trim());
  for (const kind of asked.kinds) parameters.append("kind", kind);
  if (find("source").value.trim()) parameters.set("in", find("source").value.trim());
  if (find("first-page").value) parameters.set("from", find("first-page").value);
  if (find("last-page").value) parameters.set("to", find("last-page").value);
  if (find("rerank").getAttribute("aria-pressed") === "false") parameters.set("rerank", "false");
  const address = parameters.size ? `?${parameters}` : location.pathname;
  if (address !== location.search) history.pushState(null, "", address);
}

function readAddress() {
  const parameters = new URLSearchParams(location.search);
  question.value = parameters.get("q") ?? "";
  asked.kinds = new Set(parameters.getAll("kind").filter((kind) => kind in KINDS));
  find("source").value = parameters.get("in") ?? "";
  find("first-page").value = parameters.get("from") ?? "";
  find("last-page").value = parameters.get("to") ?? "";
  find("rerank").setAttribute("aria-pressed", String(parameters.get("rerank") !== "false"));
  updateFilters();
}

function ask() {
  writeAddress();
  return search();
}

// Filters

function hasFilters() {
  return asked.kinds.size > 0 || ["source", "first-page", "last-page"].some((id) => find(id).value.trim() !== "");
}

function updateFilters() {
  for (const chip of find("kinds").children) {
    chip.setAttribute("aria-pressed", String(asked.kinds.has(chip.dataset.kind)));
  }
  find("clear").hidden = !hasFilters();
}

function changeFilters() {
  updateFilters();
  if (question.value.trim() || asked.image) ask();
}

function clearFilters() {
  asked.kinds.clear();
  for (const id of ["source", "first-page", "last-page"]) find(id).value = "";
  changeFilters();
}

function makeChip(kind, count) {
  const chip = make("button", { className: "chip", type: "button", "data-kind": kind, "aria-pressed": "false" });
  chip.append(KINDS[kind], make("small", { text: count.toLocaleString("en") }));
  chip.addEventListener("click", () => {
    if (!asked.kinds.delete(kind)) asked.kinds.add(kind);
    changeFilters();
  });
  return chip;
}

async function loadIndex() {
  const summary = await (await request("/v1/search/index")).json();
  index.hasReranker = summary.has_reranker;
  index.kinds = summary.media_types;
  const kinds = Object.keys(KINDS).filter((kind) => summary.media_types[kind]);
  find("kinds").replaceChildren(...kinds.map((kind) => makeChip(kind, summary.media_types[kind])));
  find("rerank").hidden = !summary.has_reranker;
  const named = kinds.map((kind) => KINDS[kind].toLowerCase());
  const list = named.length > 1 ? `${named.slice(0, -1).join(", ")} and ${named.at(-1)}` : (named[0] ?? "nothing yet");
  const files = summary.files === 1 ? "1 file" : `${summary.files.toLocaleString("en")} files`;
  find("summary").textContent = `${list[0].toUpperCase()}${list.slice(1)} in ${files}`;
  updateFilters();
}

async function loadSources() {
  const listed = await (await request(`/v1/search/sources?limit=${LISTED_SOURCES}`)).json();
  const folders = new Set();
  for (const { source } of listed.sources) {
    for (let at = source.indexOf("/"); at >= 0; at = source.indexOf("/", at + 1)) folders.add(source.slice(0, at + 1));
  }
  const names = [...[...folders].sort(), ...listed.sources.map((one) => one.source)];
  find("sources").replaceChildren(...names.map((value) => make("option", { value })));
}

// The image of the question

async function takeImage(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) {
    showMessage("That is no image", `“${file.name}” cannot be searched with. Choose an image file.`);
    return;
  }
  if (file.size > MOST_IMAGE_BYTES) {
    showMessage("That image is too large", `It has ${Math.round(file.size / 1e6)} MB; up to 30 MB can be sent.`);
    return;
  }
  asked.image = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  URL.revokeObjectURL(find("asked-image").src);
  find("asked-image").src = URL.createObjectURL(file);
  find("asked").hidden = false;
  question.placeholder = "Add words, if you like";
  ask();
}

function removeImage() {
  asked.image = null;
  URL.revokeObjectURL(find("asked-image").src);
  find("asked-image").removeAttribute("src");
  find("asked").hidden = true;
  find("image").value = "";
  question.placeholder = ASK;
}

// One result, large

function openViewer(place) {
  showInViewer(place);
  if (!viewer.open) viewer.showModal();
  // Not one of its buttons: arrows and Escape are what comes next, and the label is read.
  viewer.focus();
}

function showInViewer(place) {
  const hit = answer.hits[place];
  if (!hit) return;
  answer.shown = place;
  const [name, parent] = splitName(hit.source);
  find("viewer-rank").textContent = `${hit.rank} of ${answer.hits.length}`;
  find("viewer-name").textContent = name;
  const size = hit.width && hit.height ? `${hit.width} × ${hit.height} pixels` : "";
  find("viewer-place").textContent = [parent, describePlace(hit), size].filter(Boolean).join(" · ");
  find("viewer-scores").replaceChildren(...listFigures(hit, "div"));
  const twins = hit.identical_sources;
  find("viewer-twins").hidden = twins.length === 0;
  find("viewer-twins").textContent = `The same content: ${twins.map(showName).join(", ")}`;
  const isText = hit.media_type === "text";
  find("viewer-text").hidden = isText || !hit.text;
  find("viewer-text").querySelector("p").textContent = hit.text ?? "";
  find("viewer-paper").hidden = !isText;
  find("viewer-paper").textContent = isText ? (hit.text ?? "") : "";
  find("viewer-moment").hidden = hit.media_type !== "video";
  find("moment").value = 0.5;
  find("previous").disabled = place === 0;
  find("next").disabled = place === answer.hits.length - 1;
  // A button that is disabled under the focus would take the keyboard with it.
  if (document.activeElement?.disabled) viewer.focus();
  find("stage").scrollTop = 0;
  clearExplanation();
  showMedia(hit);
}

async function showMedia(hit) {
  const image = find("viewer-image");
  const problem = find("viewer-unreadable");
  problem.hidden = true;
  image.hidden = hit.media_type === "text";
  image.alt = `${KIND_NAMES[hit.media_type]} ${showName(hit.source)}${hit.place ? `, ${hit.place}` : ""}`;
  if (image.hidden) return;
  const isVideo = hit.media_type === "video";
  const moment = Number(find("moment").value);
  if (isVideo) {
    const time = hit.start === null ? `${Math.round(moment * 100)} %` : formatTime(hit.start + moment * (hit.end - hit.start));
    find("moment-time").textContent = time;
  }
  const path = isVideo ? `${hit.media_url}?moment=${moment}` : hit.media_url;
  find("stage").classList.add("loading");
  const isCurrent = () => answer.hits[answer.shown] === hit && (!isVideo || Number(find("moment").value) === moment);
  try {
    if (!isVideo || moment === 0.5) {
      // What the tile shows, until the large one is here.
      const small = await loadImage(hit.thumbnail_url).catch(() => null);
      if (small && isCurrent()) image.src = small;
    }
    const url = await loadImage(path);
    if (isCurrent()) image.src = url;
  } catch (error) {
    if (!isCurrent()) return;
    image.hidden = true;
    problem.hidden = false;
    problem.textContent = error.message;
  } finally {
    if (isCurrent()) find("stage").classList.remove("loading");
  }
}

// Why a result was found

function clearExplanation() {
  markRegions([]);
  find("why").textContent = "";
  find("why-regions").replaceChildren();
  find("explain").hidden = false;
  find("explain").disabled = false;
}

/** The same search once more, for this one alone: its explanation may take as long as a dozen candidates. */
async function explain() {
  const hit = answer.hits[answer.shown];
  const isCurrent = () => answer.hits[answer.shown] === hit;
  const { query, image, rerank } = answer.body;
  find("explain").disabled = true;
  find("why").textContent = "Looking …";
  try {
    const found = await postSearch({ query, image, rerank, k: 1, filter: { id: hit.id }, explain: true });
    if (isCurrent()) showExplanation(hit, found.results[0]?.explanation);
  } catch (error) {
    if (!isCurrent()) return;
    find("explain").disabled = false;
    find("why").textContent = error.message;
  }
}

function showExplanation(hit, explanation) {
  find("explain").hidden = true;
  // The button that was pressed is gone, and the keyboard must not be.
  viewer.focus();
  if (!explanation || explanation.error) {
    find("why").textContent = explanation?.error ?? "This result is no longer in the index.";
    return;
  }
  const regions = explanation.regions;
  const nothing = explanation.method === "words" ? "None of its words was found." : "No part by itself takes from its score.";
  find("why").textContent = regions.length ? explanation.statement : nothing;
  const named = regions.filter((region) => region.text || region.start != null);
  find("why-regions").replaceChildren(...named.map((region) => makeRegion(hit, region)));
  markRegions(regions.filter((region) => region.box));
  const first = regions.find((region) => region.start != null);
  if (first) showMoment(hit, first);
}

function makeRegion(hit, region) {
  if (region.start == null) return make("li", { dir: "auto", text: region.text });
  const times = `${formatTime(region.start)} – ${formatTime(region.end)}`;
  const button = make("button", { type: "button", text: times });
  button.addEventListener("click", () => showMoment(hit, region));
  return make("li", {}, button);
}

/** Frames over the image: the drawing has the proportions of the image, and is fitted into the stage as it is. */
function markRegions(regions) {
  const image = find("viewer-image");
  const marks = find("viewer-marks");
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  // A drawing has no property of that name.
  marks.toggleAttribute("hidden", regions.length === 0 || !width);
  marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
  marks.replaceChildren(
    ...regions.map(({ box: [left, top, right, bottom], weight }) => {
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const place = { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height };
      const strength = { "fill-opacity": 0.28 * weight, "stroke-opacity": Math.max(0.25, weight) };
      for (const [name, value] of Object.entries({ ...place, ...strength })) mark.setAttribute(name, value);
      return mark;
    }),
  );
}

function showMoment(hit, region) {
  const start = hit.start ?? 0;
  if (hit.end === null) return;
  find("moment").value = ((region.start + region.end) / 2 - start) / (hit.end - start);
  showMedia(hit);
}

function formatTime(seconds) {
  const whole = Math.floor(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${pad(Math.floor((whole % 3600) / 60))}:${pad(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

function step(by) {
  const place = answer.shown + by;
  if (place >= 0 && place < answer.hits.length) showInViewer(place);
}

viewer.addEventListener("close", () => focusTile(answer.shown));
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
viewer.addEventListener("keydown", (event) => {
  if (event.target === find("moment")) return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else return;
  event.preventDefault();
});
find("previous").addEventListener("click", () => step(-1));
find("next").addEventListener("click", () => step(1));
find("close").addEventListener("click", () => viewer.close());
find("explain").addEventListener("click", explain);
find("moment").addEventListener("input", () => showMedia(answer.hits[answer.shown]));

// The keyboard: one stop for all tiles, arrows between them

function listTiles() {
  return [...hitList.querySelectorAll(".tile")];
}

function focusTile(place) {
  const tiles = listTiles();
  if (!tiles[place]) return;
  tiles.forEach((tile, other) => {
    tile.tabIndex = other === place ? 0 : -1;
  });
  tiles[place].focus();
}

function countColumns(tiles) {
  const top = tiles[0].getBoundingClientRect().top;
  const second = tiles.findIndex((tile) => tile.getBoundingClientRect().top > top + 1);
  return second < 0 ? tiles.length : second;
}

hitList.addEventListener("keydown", (event) => {
  const tiles = listTiles();
  const place = tiles.indexOf(document.activeElement);
  if (place < 0) return;
  const columns = countColumns(tiles);
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  let target = place + (moves[event.key] ?? 0);
  if (event.key === "Home") target = 0;
  else if (event.key === "End") target = tiles.length - 1;
  else if (!(event.key in moves)) return;
  event.preventDefault();
  if (target < 0 && event.key === "ArrowUp") question.focus();
  else focusTile(Math.min(Math.max(target, 0), tiles.length - 1));
});

document.addEventListener("keydown", (event) => {
  if (viewer.open || gate.open || event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.matches("input");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    question.focus();
    question.select();
  } else if (event.key === "Escape" && event.target !== question) {
    question.focus();
  } else if (event.key === "ArrowDown" && event.target === question && answer.hits.length) {
    event.preventDefault();
    focusTile(0);
  }
});

// Everything else that is pressed, typed, pasted or dropped

find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
find("more").addEventListener("click", () => {
  const first = answer.hits.length;
  asked.hits = Math.min(2 * asked.hits, MOST_HITS);
  search({ keep: true }).then(() => focusTile(first));
});
for (const id of ["source", "first-page", "last-page"]) find(id).addEventListener("change", changeFilters);
find("clear").addEventListener("click", clearFilters);
find("rerank").addEventListener("click", () => {
  const chip = find("rerank");
  chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") === "false"));
  changeFilters();
});
find("choose-image").addEventListener("click", () => find("image").click());
find("image").addEventListener("change", () => takeImage(find("image").files[0]));
find("remove-image").addEventListener("click", () => {
  removeImage();
  question.focus();
  ask();
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) {
    event.preventDefault();
    takeImage(file);
  }
});
let dragDepth = 0;
document.addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  dragDepth += 1;
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  dragDepth = Math.max(0, dragDepth - 1);
  if (dragDepth === 0) document.body.classList.remove("dragging");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dragDepth = 0;
  document.body.classList.remove("dragging");
  takeImage(event.dataTransfer.files[0]);
});
addEventListener("popstate", () => {
  if (viewer.open) viewer.close();
  removeImage();
  readAddress();
  search();
});

async function start() {
  readAddress();
  question.focus();
  try {
    await loadIndex();
    readAddress();
    await Promise.all([loadSources(), question.value ? search() : null]);
  } catch (error) {
    showMessage("The index cannot be reached", error.message, ["Try again", () => location.reload()]);
  }
}

start();
