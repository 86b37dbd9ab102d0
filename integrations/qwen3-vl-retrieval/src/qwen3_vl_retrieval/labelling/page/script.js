// The page at `/label`: shows questions and what may answer them, and saves what a person says of both.
//
// Names and texts come from documents and models that nobody checked: they are only ever set as text, never as HTML.

import { KIND_NAMES, ServerError, describePlace, find, make, readReason, showName, splitName } from "/page/elements.js";

const GRADES = [
  [2, "relevant"],
  [1, "partly"],
  [0, "not"],
];
const STATES = { draft: "draft, unchecked", accepted: "accepted", rejected: "rejected" };
const MARKS = { draft: "", accepted: "✓ ", rejected: "✗ " };
const MORE_HITS = 8;
const JUMP_CHARACTERS = 60;

const list = find("candidates");
const viewer = find("viewer");
const adding = find("adding");
const text = find("text");
const language = find("language");

const desk = { questions: [], place: -1, candidates: [], shown: -1, hasReranker: false };

// Talking to the server

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin" });
  } catch {
    throw new ServerError("The server does not answer. It may have been stopped; what was saved is in the file.");
  }
  if (!response.ok) throw new ServerError(await readReason(response));
  return response.json();
}

function send(path, body) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Changes are sent one after the other, in the order of the clicks. */
let lastChange = Promise.resolve();

function save(path, body, onSaved) {
  find("saved").textContent = "Saving …";
  const change = lastChange.then(async () => {
    try {
      const question = await send(path, body);
      find("saved").textContent = `Saved at ${new Date().toLocaleTimeString()}`;
      hideMessage();
      enterQuestion(question);
      onSaved?.(question);
      return true;
    } catch (error) {
      find("saved").textContent = "NOT saved";
      showMessage("This was not saved", error.message);
      // What is shown is what is saved.
      showQuestion();
      return false;
    }
  });
  lastChange = change;
  return change;
}

function showMessage(title, said, action = null) {
  const box = find("message");
  box.hidden = false;
  box.querySelector("h2").textContent = title;
  box.querySelector("p").textContent = said.charAt(0).toUpperCase() + said.slice(1);
  const button = box.querySelector("button");
  button.hidden = action === null;
  button.onclick = action;
}

function hideMessage() {
  find("message").hidden = true;
}

// Questions

function current() {
  return desk.questions[desk.place];
}

function enterQuestion(question) {
  const place = desk.questions.findIndex((one) => one.id === question.id);
  if (place < 0) desk.questions.push(question);
  else desk.questions[place] = question;
  countQuestions();
  listQuestions();
  if (current()?.id === question.id) showState(question);
}

function countQuestions() {
  const all = desk.questions.length;
  const judged = desk.questions.filter((one) => one.status !== "draft").length;
  find("counted").textContent = all ? `${judged} of ${all} judged` : "No questions yet";
  find("done").style.setProperty("--share", all ? (judged / all).toFixed(4) : "0");
}

function listQuestions() {
  const options = desk.questions.map((one, place) => {
    const words = one.text || "an image";
    const shown = words.length > JUMP_CHARACTERS ? `${words.slice(0, JUMP_CHARACTERS)}…` : words;
    return make("option", { value: String(place), text: `${MARKS[one.status]}${place + 1}. ${showName(shown)}` });
  });
  find("jump").replaceChildren(...options);
  find("jump").value = String(desk.place);
}

function showState(question) {
  const state = find("status");
  state.textContent = STATES[question.status];
  state.className = `state ${question.status}`;
  const origin = question.model ? `written by ${showName(question.model)}` : "";
  find("origin").textContent = [origin, ...question.tags.map(showName)].filter(Boolean).join(" · ");
  find("reopen").hidden = question.status === "draft";
  find("accept").disabled = question.status === "accepted";
  find("reject").disabled = question.status === "rejected";
  find("previous-question").disabled = desk.place === 0;
  find("next-question").disabled = desk.place === desk.questions.length - 1;
  document.title = `${desk.place + 1} of ${desk.questions.length} – Label`;
}

function showQuestion() {
  const question = current();
  find("card").hidden = find("answers").hidden = !question;
  if (!question) {
    showMessage(
      "No questions yet",
      "Add one of your own, or let a language model write some: qwen3vl eval draft. Its --help says how.",
      openAdding,
    );
    find("message").querySelector("button").textContent = "Add a question";
    return;
  }
  find("jump").value = String(desk.place);
  text.value = question.text;
  language.value = question.language ?? "";
  const image = find("image");
  image.hidden = !question.has_image;
  if (question.has_image) image.src = `/v1/label/image?question=${encodeURIComponent(question.id)}`;
  showState(question);
}

async function openQuestion(place) {
  if (place < 0 || place >= desk.questions.length) return;
  desk.place = place;
  hideMessage();
  showQuestion();
  history.replaceState(null, "", `#${encodeURIComponent(current().id)}`);
  await loadCandidates();
  // The question is read first: it stays in sight.
  if (document.activeElement === document.body) focusCandidate(0, { preventScroll: true });
}

async function loadCandidates() {
  const question = current();
  desk.candidates = [];
  list.replaceChildren();
  list.setAttribute("aria-busy", "true");
  find("hint").textContent = "Looking for what may answer it …";
  try {
    const found = await request(`/v1/label/candidates?question=${encodeURIComponent(question.id)}`);
    if (current()?.id !== question.id) return;
    desk.candidates = found.candidates;
    list.replaceChildren(...found.candidates.map(makeCandidate));
    placeFocus(0);
    const stages = desk.hasReranker ? "the best of both stages" : "the best of the first stage";
    const order = "in no particular order; scores are shown once you have judged";
    find("hint").textContent = found.candidates.length ? `${found.candidates.length}: ${stages}, ${order}.` : "Nothing was found.";
  } catch (error) {
    if (current()?.id !== question.id) return;
    find("hint").textContent = "";
    showMessage("Nothing could be looked for", error.message, loadCandidates);
    find("message").querySelector("button").textContent = "Try again";
  } finally {
    list.removeAttribute("aria-busy");
  }
}

async function decide(status) {
  const question = current();
  if (!question || question.status === status) return;
  await saveText();
  const isSaved = await save("/v1/label/change", { question: question.id, status });
  if (isSaved && status !== "draft") openNextDraft();
}

/** To the next one that nobody has judged; at the end from the beginning. */
function openNextDraft() {
  const order = [...desk.questions.keys()];
  const next = [...order.slice(desk.place + 1), ...order.slice(0, desk.place)].find(
    (place) => desk.questions[place].status === "draft",
  );
  if (next === undefined) find("hint").textContent = "All questions are judged.";
  else openQuestion(next);
}

async function saveText() {
  const question = current();
  const words = text.value.trim();
  const code = language.value.trim();
  const body = { question: question.id };
  if (words !== question.text && (words || !question.has_image)) body.text = words;
  if (code !== (question.language ?? "")) body.language = code;
  if (!("text" in body) && !("language" in body)) return;
  if (body.text === "") {
    showMessage("This was not saved", "a question needs words; reject it if it is not to be asked");
    text.value = question.text;
    return;
  }
  const isSaved = await save("/v1/label/change", body);
  if (isSaved && "text" in body && current()?.id === question.id) await loadCandidates();
}

// Candidates

function makeGrades(candidate) {
  const buttons = GRADES.map(([grade, name]) => {
    const button = make("button", { type: "button", text: name, "data-grade": String(grade) });
    button.setAttribute("aria-pressed", String(candidate.grade === grade));
    button.addEventListener("click", () => judge(candidate, grade));
    return button;
  });
  return make("div", { className: "grades", role: "group", "aria-label": `How well ${showName(candidate.hit.source)} answers` }, ...buttons);
}

function makeCandidate(candidate) {
  const hit = candidate.hit;
  const [name, parent] = splitName(hit.source);
  const view = make("button", { className: "view", type: "button", tabindex: "-1" });
  view.setAttribute("aria-label", `Look closely at ${showName(hit.source)}`);
  if (hit.media_type === "text") {
    view.classList.add("note");
    view.append(make("span", { className: "words", dir: "auto", text: hit.text ?? "" }));
  } else {
    const image = make("img", { alt: "", loading: "lazy" });
    image.addEventListener("load", () => image.classList.add("shown"), { once: true });
    image.addEventListener("error", () => image.replaceWith(make("span", { className: "unreadable", text: "can no longer be shown" })));
    image.src = hit.thumbnail_url;
    view.append(image);
  }
  const place = describePlace(hit);
  if (place) view.append(make("span", { className: "badge", text: place }));
  view.addEventListener("click", () => openViewer(desk.candidates.indexOf(candidate)));
  const caption = make(
    "div",
    { className: "caption" },
    make("span", { className: "name", dir: "auto", text: name }),
    parent ? make("span", { className: "parent", dir: "auto", text: parent }) : null,
    make("span", { className: "excerpt scores-said", text: describeScores(candidate) }),
  );
  const said = [KIND_NAMES[hit.media_type], showName(hit.source), hit.place].filter(Boolean).join(" ");
  const tile = make("article", { className: "candidate", tabindex: "-1", "aria-label": said }, view, caption, makeGrades(candidate));
  showGrade(tile, candidate);
  return make("li", {}, tile);
}

/** Nothing before it is judged: whoever sees a score agrees with it. */
function describeScores(candidate) {
  if (candidate.grade === null) return "";
  const { similarity_score: similarity, relevance_score: relevance } = candidate.hit;
  const scores = [`similarity ${similarity.toFixed(2)}`];
  if (relevance !== null) scores.unshift(`relevance ${relevance.toFixed(2)}`);
  return scores.join(", ");
}

function showGrade(tile, candidate) {
  tile.classList.remove("graded-0", "graded-1", "graded-2");
  if (candidate.grade !== null) tile.classList.add(`graded-${candidate.grade}`);
  for (const button of tile.querySelectorAll(".grades button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.grade) === candidate.grade));
  }
  tile.querySelector(".scores-said").textContent = describeScores(candidate);
}

function judge(candidate, grade) {
  const before = candidate.grade;
  const after = before === grade ? null : grade;
  const showAll = (value) => {
    candidate.grade = value;
    const tile = listTiles()[desk.candidates.indexOf(candidate)];
    if (tile) showGrade(tile, candidate);
    if (viewer.open && desk.candidates[desk.shown] === candidate) showViewerGrades(candidate);
  };
  showAll(after);
  const body = { question: current().id, unit: candidate.hit.id, grade: after };
  return save("/v1/label/judge", body).then((isSaved) => {
    // Another click may have come since.
    if (!isSaved && candidate.grade === after) showAll(before);
    return isSaved;
  });
}

async function searchMore() {
  const query = find("more-query").value.trim();
  const question = current();
  if (!query) return;
  find("hint").textContent = "Searching …";
  try {
    const found = await send("/v1/search", { query, k: MORE_HITS });
    if (current()?.id !== question.id) return;
    const known = new Set(desk.candidates.map((one) => one.hit.id));
    // Scores are those of the other words, and say nothing about this question.
    const added = found.results.filter((hit) => !known.has(hit.id)).map((hit) => ({ hit, grade: null }));
    desk.candidates.push(...added);
    list.append(...added.map(makeCandidate));
    find("hint").textContent = added.length ? `${added.length} more, at the end.` : "Nothing that is not here already.";
    if (added.length) focusCandidate(desk.candidates.length - added.length);
  } catch (error) {
    find("hint").textContent = "";
    showMessage("This search did not work", error.message);
  }
}

// One candidate, large

function openViewer(place) {
  showInViewer(place);
  if (!viewer.open) viewer.showModal();
  viewer.focus();
}

function showInViewer(place) {
  const candidate = desk.candidates[place];
  if (!candidate) return;
  desk.shown = place;
  const hit = candidate.hit;
  const [name, parent] = splitName(hit.source);
  find("viewer-rank").textContent = `${place + 1} of ${desk.candidates.length}`;
  find("viewer-question").textContent = current().text;
  find("viewer-name").textContent = name;
  find("viewer-place").textContent = [parent, describePlace(hit)].filter(Boolean).join(" · ");
  const isText = hit.media_type === "text";
  find("viewer-text").hidden = isText || !hit.text;
  find("viewer-text").querySelector("p").textContent = hit.text ?? "";
  find("viewer-paper").hidden = !isText;
  find("viewer-paper").textContent = isText ? (hit.text ?? "") : "";
  const image = find("viewer-image");
  const problem = find("viewer-unreadable");
  problem.hidden = true;
  image.hidden = isText;
  image.alt = `${KIND_NAMES[hit.media_type]} ${showName(hit.source)}`;
  if (!isText) image.src = hit.media_type === "video" ? hit.thumbnail_url : hit.media_url;
  find("previous").disabled = place === 0;
  find("next").disabled = place === desk.candidates.length - 1;
  if (document.activeElement?.disabled) viewer.focus();
  showViewerGrades(candidate);
}

function showViewerGrades(candidate) {
  const hadFocus = find("viewer-grades").contains(document.activeElement);
  find("viewer-grades").replaceChildren(makeGrades(candidate));
  if (hadFocus) viewer.focus();
}

find("viewer-image").addEventListener("error", () => {
  find("viewer-image").hidden = true;
  find("viewer-unreadable").hidden = false;
  find("viewer-unreadable").textContent = "The file can no longer be read.";
});
viewer.addEventListener("close", () => focusCandidate(desk.shown));
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
viewer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) showInViewer(desk.shown + step);
  else if (GRADES.some(([grade]) => String(grade) === event.key)) judge(desk.candidates[desk.shown], Number(event.key));
  else return;
  event.preventDefault();
});
find("previous").addEventListener("click", () => showInViewer(desk.shown - 1));
find("next").addEventListener("click", () => showInViewer(desk.shown + 1));
find("close").addEventListener("click", () => viewer.close());

// A question of one's own

function openAdding() {
  find("adding-form").reset();
  find("adding-error").hidden = true;
  adding.showModal();
  find("adding-text").focus();
}

find("adding-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = find("adding-text").value.trim();
  if (!words) return;
  try {
    const question = await send("/v1/label/questions", { text: words, language: find("adding-language").value.trim() || null });
    adding.close();
    find("saved").textContent = `Saved at ${new Date().toLocaleTimeString()}`;
    enterQuestion(question);
    await openQuestion(desk.questions.length - 1);
  } catch (error) {
    find("adding-error").hidden = false;
    find("adding-error").textContent = `It was not saved: ${error.message}`;
  }
});
find("adding-cancel").addEventListener("click", () => adding.close());

// The keyboard: one stop for all candidates, arrows between them

function listTiles() {
  return [...list.querySelectorAll(".candidate")];
}

function placeFocus(place) {
  listTiles().forEach((tile, other) => {
    tile.tabIndex = other === place ? 0 : -1;
  });
}

function focusCandidate(place, options = {}) {
  const tile = listTiles()[place];
  if (!tile) return;
  placeFocus(place);
  tile.focus(options);
}

function countColumns(tiles) {
  const top = tiles[0].getBoundingClientRect().top;
  const second = tiles.findIndex((tile) => tile.getBoundingClientRect().top > top + 1);
  return second < 0 ? tiles.length : second;
}

list.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const tiles = listTiles();
  const place = tiles.indexOf(event.target.closest(".candidate"));
  if (place < 0) return;
  const columns = countColumns(tiles);
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  if (event.key in moves) focusCandidate(Math.min(Math.max(place + moves[event.key], 0), tiles.length - 1));
  else if (event.key === "Enter" && event.target === tiles[place]) openViewer(place);
  else if (GRADES.some(([grade]) => String(grade) === event.key)) judge(desk.candidates[place], Number(event.key));
  else return;
  event.preventDefault();
});

const KEYS = {
  a: () => decide("accepted"),
  x: () => decide("rejected"),
  u: () => decide("draft"),
  j: () => openQuestion(desk.place + 1),
  k: () => openQuestion(desk.place - 1),
  n: openAdding,
  e: () => text.focus(),
};

document.addEventListener("keydown", (event) => {
  if (viewer.open || adding.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") focusCandidate(0);
    return;
  }
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

text.addEventListener("change", saveText);
language.addEventListener("change", saveText);
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  saveText().then(() => focusCandidate(0));
});
find("accept").addEventListener("click", () => decide("accepted"));
find("reject").addEventListener("click", () => decide("rejected"));
find("reopen").addEventListener("click", () => decide("draft"));
find("previous-question").addEventListener("click", () => openQuestion(desk.place - 1));
find("next-question").addEventListener("click", () => openQuestion(desk.place + 1));
find("new-question").addEventListener("click", openAdding);
find("jump").addEventListener("change", () => openQuestion(Number(find("jump").value)));
find("more-form").addEventListener("submit", (event) => {
  event.preventDefault();
  searchMore();
});

async function start() {
  try {
    const loaded = await request("/v1/label/questions");
    desk.questions = loaded.questions;
    desk.hasReranker = loaded.has_reranker;
    find("file").textContent = loaded.file;
    countQuestions();
    const wanted = decodeURIComponent(location.hash.slice(1));
    const named = desk.questions.findIndex((one) => one.id === wanted);
    const open = desk.questions.findIndex((one) => one.status === "draft");
    desk.place = named >= 0 ? named : Math.max(open, 0);
    listQuestions();
    if (desk.questions.length) await openQuestion(desk.place);
    else showQuestion();
  } catch (error) {
    showMessage("The questions cannot be read", error.message, () => location.reload());
  }
}

start();
