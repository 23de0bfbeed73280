// A reader's page: which screen is shown, the keys, and the time that an image takes.

import { ask, Gone, keepOnly, load, Refused, retryNow, tell } from "/static/network.js";
import { make, Questions } from "/static/questions.js";
import { Viewer } from "/static/viewer.js";

const GUARD = 150; // ms in which a key cannot have been meant for the image that just appeared
const facts = JSON.parse(document.body.dataset.facts);
const element = (id) => document.getElementById(id);
const pendingKey = `datadouble:${facts.study}:${facts.reader}`;

let progress = facts.progress;
let shown = null;
let spent = 0; // ms, without what runs since `since`
let since = null;
let leaving = Promise.resolve(); // a pause on its way
let goOn = null; // what Enter does on a screen

const viewer = new Viewer(element("stage"), element("canvas"), {
  report: (text) => { element("reading").textContent = text; },
  marked: (x, y) => { if (state() === "judging") questions.setMark([x, y]); },
});
const questions = new Questions(element("questions"), facts, {
  changed: () => hint(),
  submit: () => submit(),
  mark: { begin: () => viewer.beginCross(), show: (place) => viewer.setMark(place) },
});

const state = () => document.body.dataset.state;
function setState(name) {
  document.body.dataset.state = name;
  element("undo").disabled = !(["judging", "feedback"].includes(name) && progress.can_undo);
  element("pause").disabled = !["judging", "feedback"].includes(name);
}

// -- time

function startClock() { since = performance.now(); }
function stopClock() {
  if (since !== null) spent += performance.now() - since;
  since = null;
}

// -- what is said

function say(text) { element("live").textContent = text; }

function notice(wait, where) {
  element("notice").hidden = wait === null;
  if (wait === null) { say("The connection is back."); return; }
  const what = where === "server" ? "The server cannot store just now." : "No connection.";
  const kept = pending() ? " Your answer is kept here and will be sent again" : " Trying again";
  element("notice-text").textContent = `${what}${kept} in ${Math.ceil(wait)} s. Please leave this page open.`;
}

function hint(text = "", warn = false) {
  element("hint").textContent = text || questions.hint;
  element("hint").classList.toggle("warn", warn);
  element("submit").hidden = questions.quick && state() !== "feedback";
  element("submit").classList.toggle("ready", questions.done);
}

function paintProgress() {
  const part = facts.parts[progress.part];
  element("part").textContent = part ? part.title : "";
  element("progress").max = progress.total || 1;
  element("progress").value = progress.done;
  element("progress-text").textContent = shown ? `${shown.practice ? "Practice " : ""}${shown.number} of ${shown.total}` : "";
  const left = progress.seconds_left;
  element("left").textContent = left === null || !shown ? "" : `about ${duration(left)} left`;
}

function duration(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60));
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// -- answers that the server has not confirmed yet outlive the page

function pending() {
  try { return JSON.parse(localStorage.getItem(pendingKey)); } catch { return null; }
}
function keep(answer) {
  try {
    if (answer) localStorage.setItem(pendingKey, JSON.stringify(answer));
    else localStorage.removeItem(pendingKey);
  } catch { /* a browser that stores nothing: the page itself keeps it */ }
}

// -- screens

function showScreen(name, title, lines, go, then) {
  setState(name);
  stopClock();
  shown = null;
  element("desk").hidden = true;
  element("screen").hidden = false;
  element("screen-title").textContent = title;
  element("screen-text").replaceChildren(...lines.filter(Boolean).map((textContent) => make("p", { textContent })));
  element("go").hidden = !go;
  element("go-text").textContent = go || "";
  element("room").hidden = name !== "brief";
  element("screen-undo").hidden = !(progress.can_undo && ["finished", "waiting", "break"].includes(name));
  goOn = go ? then : null;
  paintProgress();
  element("screen-title").focus();
}

function showStanding(reason) {
  const part = facts.parts[progress.part];
  const place = progress.parts.findIndex((one) => one.part === progress.part);
  const count = progress.parts.length > 1 && place >= 0 ? `Part ${place + 1} of ${progress.parts.length}. ` : "";
  if (progress.state === "finished") {
    showScreen("finished", "All done. Thank you.", ["Every answer is stored. You may close this page."], "");
  } else if (progress.state === "waiting") {
    const date = new Date(progress.opens_at).toLocaleString([], { dateStyle: "long", timeStyle: "short" });
    const before = progress.parts[place - 1];
    showScreen("waiting", before ? `${before.title}: done. Thank you.` : "Not yet", [
      `${count}“${part.title}” opens on ${date}. The pause in between is part of the study.`,
      "Please keep this link and come back then; every answer is stored.",
    ], "Look again", () => location.reload());
  } else if (reason === "paused") {
    showScreen("paused", "Paused", [
      "The time does not run. Go on here, or with the same link on any other computer.",
      `${progress.done} of ${progress.total} are done; every answer is stored.`,
    ], "Go on", begin);
  } else if (progress.done && reason === "break") {
    showScreen("break", "Practice is over", ["From here on your answers count, and the truth is not told any more."], "Begin", begin);
  } else if (progress.done) {
    showScreen("brief", "Welcome back", [
      `${count}${part.title}: ${progress.done} of ${progress.total} are done; every answer is stored.`, part.instructions,
    ], "Go on", begin);
  } else {
    showScreen("brief", part.title, [
      count + element("instructions").textContent, part.instructions,
      progress.practice ? `It begins with some practice images, which are not counted${part.feedback ? "; after each you are told the truth" : ""}.` : "",
      `${progress.total} images. Pause whenever you like (p); every answer is stored at once. Help: ?`,
    ], "Begin", begin);
  }
}

function gone() {
  keep(null);
  element("notice").hidden = true;
  showScreen("gone", "This link does not work any more", ["Answers that you gave are kept. Please ask whoever runs the study for a new link."], "");
}

// -- the way from image to image

async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Gone) gone();
    else if (error instanceof Refused && error.code !== "invalid") await guarded(fetchNext);
    else if (error instanceof Refused) {
      setState("judging");
      startClock();
      questions.lock(false);
      hint(error.message, true);
    } else throw error;
    return null;
  }
}

async function begin() {
  if (state() === "brief") tell("monitor", monitorFacts());
  setState("sending");
  await leaving;
  await guarded(fetchNext);
}

async function fetchNext() {
  setState("sending");
  await showView(await ask("next", { resume: true }, notice));
}

async function showView(view, said = "") {
  const before = progress;
  progress = view.progress || progress;
  if (!view.shown) {
    if (!view.progress) return fetchNext();
    const sameDay = before.part === progress.part && progress.state === "open";
    return showStanding(sameDay ? "break" : "load");
  }
  const bitmap = await load(view.shown.image, notice);
  if (document.hidden) { progress = view.progress; return pauseNow(); }
  const fresh = shown === null || shown.shown_id !== view.shown.shown_id;
  shown = view.shown;
  element("screen").hidden = true;
  element("desk").hidden = false;
  element("feedback").hidden = true;
  element("submit-text").textContent = "Next image";
  if (questions.part !== shown.part) questions.build(shown.part);
  else if (fresh) questions.clear();
  questions.lock(false);
  viewer.show(bitmap);
  element("invert").setAttribute("aria-pressed", "false");
  document.body.dataset.shown = shown.shown_id;
  spent = 1000 * shown.elapsed;
  since = null;
  setState("showing");
  paintProgress();
  hint(said);
  element("canvas").setAttribute("aria-label", `Image ${shown.number} of ${shown.total}`);
  say(`${said} ${shown.practice ? "Practice image" : "Image"} ${shown.number} of ${shown.total}.`);
  element("panel").focus({ preventScroll: true });
  const id = shown.shown_id;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  if (!shown || shown.shown_id !== id || state() !== "showing") return null;
  startClock();
  keepOnly([shown.image, ...view.upcoming]);
  for (const name of view.upcoming) load(name, () => null).catch(() => null);
  setTimeout(() => { if (shown && shown.shown_id === id && state() === "showing") setState("judging"); }, GUARD);
  return null;
}

async function submit() {
  if (state() === "feedback") return guarded(afterFeedback);
  if (state() !== "judging") return null;
  if (!questions.done) {
    const open = questions.list.findIndex((question) => !questions.complete(question));
    questions.activate(open);
    hint(questions.hint, true);
    return null;
  }
  stopClock();
  setState("sending");
  questions.lock(true);
  const answer = { shown_id: shown.shown_id, answers: questions.given, seconds: spent / 1000 };
  keep(answer);
  return guarded(async () => {
    let view;
    try {
      view = await ask("answer", answer, notice);
    } catch (error) {
      keep(null);
      throw error;
    }
    keep(null);
    if (view.receipt.feedback.length) showFeedback(view);
    else await showView(view);
  });
}

function showFeedback(view) {
  progress = view.progress || progress;
  const box = element("feedback");
  const labelOf = (key, value) => facts.questions[key].answers.find((answer) => answer.value === value)?.label ?? value;
  box.replaceChildren(...view.receipt.feedback.filter((one) => one.right).map((one) => {
    const right = one.given === one.right;
    const line = make("p", { className: right ? "right" : "wrong" });
    line.append(make("strong", { textContent: right ? "✓ Right: " : "✗ Not so: " }), `the answer is “${labelOf(one.question, one.right)}”.`);
    return line;
  }));
  box.append(make("p", { className: "quiet", textContent: "Practice: not counted. Take your time to look at it again." }));
  box.hidden = false;
  element("submit-text").textContent = "Go on";
  setState("feedback");
  hint(" ");
  say(box.textContent);
}

async function afterFeedback() {
  element("feedback").hidden = true;
  if (progress.state !== "open" || progress.part !== shown.part || progress.practice !== shown.practice) {
    const over = progress.state === "open" && progress.part === shown.part;
    shown = null;
    showStanding(over ? "break" : "load");
  } else await fetchNext();
}

async function undo() {
  if (!progress.can_undo || !["judging", "feedback", "break", "finished", "waiting"].includes(state())) return;
  stopClock();
  setState("sending");
  await guarded(async () => {
    const view = await ask("undo", {}, notice);
    shown = null;
    questions.part = null;
    await showView(view, view.undone ? "Your last answer was taken back." : "There is nothing to undo.");
  });
}

function pauseNow() {
  if (["paused", "gone", "finished", "waiting", "brief", "break"].includes(state())) return;
  stopClock();
  leaving = tell("pause", {});
  questions.part = null;
  showStanding("paused");
}

function monitorFacts() {
  return {
    screen: [screen.width, screen.height],
    window: [innerWidth, innerHeight],
    pixel_ratio: devicePixelRatio,
    colour_depth: screen.colorDepth,
    touch: navigator.maxTouchPoints > 0,
    light: element("light").value,
    greys_seen: element("greys").checked ? true : null,
    browser: navigator.userAgent.slice(0, 300),
  };
}

// -- buttons and keys

function showHelp() {
  const help = element("help");
  if (help.open) { help.close(); return; }
  const part = facts.parts[questions.part ?? progress.part];
  const rows = [];
  for (const key of part ? part.questions : []) {
    const question = facts.questions[key];
    for (const answer of question.answers) rows.push([answer.key, answer.label]);
    if (question.confidence) rows.push(["← →", "how sure: 5 less or more, with shift 1"], ["Home End", "0, 100"]);
    if (question.confidence && questions.digits()) rows.push(["1 … 9 0", "how sure: 10 … 90, 100"]);
    if (question.mark) rows.push(["m", "mark a place: arrows, then Enter; or click the image"]);
    if (question.free_text) rows.push(["t", "write a remark; Enter or Esc leaves it"]);
    rows.push(["Enter", "store the answer, next image"]);
  }
  if (part && part.questions.length > 1) rows.push(["↑ ↓", "question before, after"]);
  element("help-answers").replaceChildren(...rows.flatMap(([keys, text]) => {
    const term = make("dt");
    term.append(...keys.split(" ").flatMap((key) => (key === "…" ? ["… "] : [make("kbd", { textContent: key }), " "])));
    return [term, make("dd", { textContent: text })];
  }));
  const running = since !== null;
  stopClock();
  help.addEventListener("close", () => { if (running && state() === "judging") startClock(); }, { once: true });
  help.showModal();
}

const buttons = {
  undo, "screen-undo": undo, pause: pauseNow, "help-button": showHelp, "help-close": showHelp, retry: retryNow,
  submit, go: () => goOn && goOn(),
  fit: () => viewer.fit(),
  true: () => viewer.truePixel(),
  minus: () => viewer.zoomBy(1 / 1.25),
  plus: () => viewer.zoomBy(1.25),
  reset: () => { viewer.reset(); element("invert").setAttribute("aria-pressed", "false"); },
  invert: () => { viewer.invert(); element("invert").setAttribute("aria-pressed", String(viewer.inverted)); },
  window: () => {
    viewer.windowing = !viewer.windowing;
    element("window").setAttribute("aria-pressed", String(viewer.windowing));
  },
};
for (const [id, work] of Object.entries(buttons)) {
  element(id).addEventListener("click", (event) => {
    if (event.detail) element(id).blur(); // a mouse click must not make Enter press it again
    work();
  });
}
element("questions").addEventListener("click", (event) => {
  if (event.detail && event.target.closest("button")) element("panel").focus({ preventScroll: true });
});
element("questions").addEventListener("submit", (event) => event.preventDefault());
element("stage").addEventListener("mousedown", (event) => event.preventDefault()); // focus is for the keyboard
element("panel").tabIndex = -1;

const KEYS = {
  u: undo, p: pauseNow, "?": showHelp, f: buttons.fit, z: buttons.true, i: buttons.invert, "+": buttons.plus, "=": buttons.plus,
  "-": buttons.minus,
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function judgingKey(event) {
  const { key, shiftKey, target } = event;
  const arrow = ARROWS[key];
  if (viewer.cross) {
    const step = shiftKey ? 0.005 : 0.02;
    if (arrow) viewer.moveCross(step * arrow[0], step * arrow[1]);
    else if (key === "Enter" || key === " ") questions.setMark(viewer.cross);
    else if (key === "Escape") viewer.endCross();
    return true;
  }
  if (key === "Enter") { if (!event.repeat) submit(); return true; }
  if (key === "Escape") { element("panel").focus({ preventScroll: true }); return true; }
  if (state() === "judging" && !event.repeat && questions.answerKey(key)) return true;
  const wanted = KEYS[key] || KEYS[key.toLowerCase()];
  if (wanted) { wanted(); return true; }
  if (target === element("stage")) {
    if (arrow && shiftKey) viewer.changeWindow(8 * arrow[0], -8 * arrow[1]);
    else if (arrow) viewer.move(-40 * arrow[0], -40 * arrow[1]);
    else if (key === " " && questions.marked) viewer.beginCross();
    else return false;
    return true;
  }
  if (state() !== "judging") return false;
  if (key.toLowerCase() === "m" && questions.marked) { viewer.beginCross(); say("Arrows move the cross, Enter sets the mark."); return true; }
  if (key.toLowerCase() === "t" && questions.focusWords()) return true;
  if (key === "ArrowUp" || key === "ArrowDown") {
    if (questions.list.length > 1) questions.activate(questions.active + arrow[1]);
    return questions.list.length > 1;
  }
  return questions.confidenceKey(key, shiftKey);
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (element("help").open) {
    if (key === "?") { event.preventDefault(); showHelp(); }
    return;
  }
  if (target instanceof HTMLTextAreaElement) {
    if (key === "Escape" || (key === "Enter" && !event.shiftKey)) {
      event.preventDefault();
      element("panel").focus({ preventScroll: true });
      if (key === "Enter" && questions.done) submit();
    }
    return;
  }
  if (target instanceof HTMLSelectElement && key !== "Enter") return;
  if (target instanceof HTMLButtonElement && (key === "Enter" || key === " ")) return;
  if (target instanceof HTMLInputElement && target.type === "checkbox" && key === " ") return;
  let taken = false;
  if (!element("desk").hidden) taken = judgingKey(event);
  else if (key === "Enter" && goOn && !event.repeat) { goOn(); taken = true; }
  else if (key.toLowerCase() === "u" && !element("screen-undo").hidden) { undo(); taken = true; }
  else if (key === "?") { showHelp(); taken = true; }
  if (taken) event.preventDefault();
});

// A tab that is not looked at does not take time, and the image is not left on the screen for others.
document.addEventListener("visibilitychange", () => { if (document.hidden && ["judging", "showing"].includes(state())) pauseNow(); });
window.addEventListener("pagehide", () => { if (["judging", "showing", "feedback"].includes(state())) tell("pause", {}); });
window.addEventListener("beforeunload", (event) => { if (pending()) event.preventDefault(); });

const unsent = pending();
if (unsent) {
  setState("sending");
  guarded(async () => {
    let view = null;
    try { view = await ask("answer", unsent, notice); } catch (error) { if (error instanceof Gone) throw error; }
    keep(null);
    if (view && view.progress) progress = view.progress;
    showStanding("load");
  });
} else showStanding("load");
