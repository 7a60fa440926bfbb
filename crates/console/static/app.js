// What the pages do besides what they are: news as they come, shortcuts, a number in the title. Everything works without.
// It makes no HTML out of texts: what is new comes as a document from this server, and its parts are moved over.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const typing = (target) => target.matches?.("input:not([type=checkbox],[type=radio]), select, textarea");

// ---- news ----

let reading = false;
let again = false;
let active = Date.now();
let timer = 0;

// Reads this page once more and moves over what differs. A part that somebody works in stays as it is.
function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  // Reading for nobody would keep a login alive that nobody uses.
  if (Date.now() - active > 600000) {
    reading = false;
    return;
  }
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.onload = () => {
    if (request.status === 200 && request.responseXML && request.responseURL.split("#")[0] === location.href.split("#")[0]) {
      take(request.responseXML);
    } else if (request.responseURL.includes("/login")) {
      leave();
    }
  };
  request.onloadend = () => {
    reading = false;
    if (again) {
      again = false;
      soon(50);
    }
  };
  request.send();
}

function soon(wait) {
  clearTimeout(timer);
  timer = setTimeout(refresh, wait);
}

const busy = (part) => part.contains(document.activeElement) && document.activeElement.closest("form, details");
const chosen = (part) => $("form :checked, details[open] form, textarea:focus", part);

function take(fresh) {
  document.title = fresh.title;
  const icon = $("link[rel=icon]");
  icon.href = $("link[rel=icon]", fresh).getAttribute("href");
  const bar = $(".killbar");
  const freshBar = $(".killbar", fresh);
  if (!freshBar) bar?.remove();
  else if (!bar) $(".shell").before(document.importNode(freshBar, true));
  else if (!bar.isEqualNode(freshBar)) replace(bar, document.importNode(freshBar, true));
  for (const part of $$("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!other || other.isEqualNode(sent.get(part))) continue;
    if (part.dataset.live === "rows") rows(part, other);
    else if (!busy(part) && !chosen(part)) replace(part, moved(other));
  }
  guard();
  note();
}

// What the server sent for a part: the part itself is changed by clocks, choices and guards.
const sent = new WeakMap();

function remember(part) {
  sent.set(part, part.cloneNode(true));
  for (const row of $$("[data-row]", part)) sent.set(row, row.cloneNode(true));
}

// A part of another document, as one of this.
function moved(other) {
  const part = document.importNode(other, true);
  remember(part);
  return part;
}

// The focus goes over to what stands in the place of what had it, so that keys go on where they were.
function replace(part, fresh) {
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  part.replaceWith(fresh);
  if (held) hand(held, fresh);
}

const REACHED = "a[href], button, input, select, textarea, summary, [tabindex]";

// What is the same, or else what comes first in the same part, or the page itself.
function hand(held, fresh) {
  const signs = (one) => [one.tagName, one.id, one.getAttribute("href"), one.getAttribute("name"), one.getAttribute("value")].join("\n");
  const reached = [fresh, ...$$(REACHED, fresh)].filter((one) => one.matches(REACHED) && !one.disabled && one.getClientRects().length);
  const next = reached.find((one) => signs(one) === signs(held)) ?? reached[0] ?? $("#main");
  next?.focus({ preventScroll: true });
}

// Rows are kept one by one: what one reads does not move, what is new comes in, what is gone goes.
function rows(part, other) {
  const wanted = [...other.children];
  if (!wanted.some((row) => row.id) || ![...part.children].some((row) => row.id)) {
    if (!busy(part)) replace(part, moved(other));
    return;
  }
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  const place = held && [...part.children].findIndex((row) => row.contains(held));
  const known = new Map([...part.children].map((row) => [row.id, row]));
  const kept = wanted.map((row) => {
    const mine = known.get(row.id);
    known.delete(row.id);
    if (mine && (busy(mine) || chosen(mine) || $("details[open]", mine) || row.isEqualNode(sent.get(mine)))) return mine;
    const fresh = moved(row);
    sent.set(fresh, fresh.cloneNode(true));
    if (mine?.classList.contains("sel")) fresh.classList.add("sel");
    return fresh;
  });
  for (const row of known.values()) {
    if (busy(row) || chosen(row)) kept.unshift(row);
  }
  if (kept.length !== part.children.length || kept.some((row, place) => row !== part.children[place])) {
    part.replaceChildren(...kept);
    // Moving a row takes the focus from it, and so does its end: then the row that has moved up has it.
    const row = kept.find((row) => row.contains(held) || row.id === held?.closest("[data-row]")?.id);
    if (held && document.activeElement !== held) hand(held, row ?? kept[Math.min(place, kept.length - 1)] ?? part);
  }
  sent.set(part, other.cloneNode(true));
}

for (const sign of ["pointerdown", "pointermove", "keydown", "focus"]) {
  addEventListener(sign, () => {
    const away = Date.now() - active > 600000;
    active = Date.now();
    if (away) refresh();
  }, { passive: true });
}

// ---- the connection ----

let lost = null;
let opened = false;

function connection(good) {
  if (good && lost) {
    lost.remove();
    lost = null;
  } else if (!good && !lost) {
    lost = document.createElement("div");
    lost.className = "note warn";
    lost.setAttribute("role", "status");
    const text = document.createElement("div");
    const strong = document.createElement("b");
    strong.textContent = `Connection lost at ${new Date().toISOString().slice(11, 19)} UTC. `;
    text.append(strong, "What you see may be old; deciding still works and is checked against the gateway. Trying again.");
    lost.append(text);
    $(".head")?.after(lost);
  }
}

// What is on the screen is for nobody any more once the login has ended. The login leads back here.
function leave() {
  location.assign(`/login?ended=1&next=${encodeURIComponent(location.pathname + location.search)}`);
}

// No stream was given: because nobody is logged in, or for a while.
async function refused() {
  const answer = await fetch("/api/me").catch(() => null);
  if (answer?.status === 401) leave();
  else setTimeout(listen, 5000);
}

function listen() {
  const source = new EventSource("/api/events");
  source.onopen = () => {
    // What happened between this page and the connection was told to nobody.
    soon(0);
    opened = true;
    connection(true);
  };
  source.onerror = () => {
    // Only what was there can be lost.
    if (opened) connection(false);
    // A browser tries again by itself, but not after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) refused();
  };
  source.addEventListener("approval", () => soon(20));
  source.addEventListener("reset", () => soon(20));
  source.addEventListener("change", () => soon(500));
  // A service was seen to have other tools.
  source.addEventListener("system", () => soon(500));
  let first = true;
  source.addEventListener("health", () => {
    // The first one tells what the page shows already.
    if (!first) soon(100);
    first = false;
  });
  let calls = 0;
  const call = () => {
    // Calls come by the thousand; a page that shows them is read anew once in a while.
    const now = Date.now();
    if (now - calls < 2000) return;
    calls = now;
    if ($('[data-live="calls"], [data-live="figures"], [data-live="first"]')) soon(1000);
  };
  source.addEventListener("call", call);
}

// The welcome page ends with the first call.
function note() {
  if ($('[data-live="first"]') && !document.title.includes("Welcome")) location.reload();
}

// ---- time that is left ----

function words(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (seconds < 600) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  if (seconds < 3600) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

function clocks() {
  const now = Math.floor(Date.now() / 1000);
  for (const left of $$("[data-until]")) {
    const seconds = Math.max(0, Number(left.dataset.until) - now);
    if (seconds > 172800) continue;
    const text = $("b span", left);
    const said = `${words(seconds)} left`;
    if (text && text.textContent !== said) text.textContent = said;
    left.classList.toggle("soon", seconds < 300);
    const bar = $("progress", left);
    if (bar) bar.value = Math.min(bar.max, seconds);
    if (seconds === 0 && !left.dataset.ended) {
      left.dataset.ended = "yes";
      soon(1500);
    }
  }
}

// ---- deciding ----

// The decision counts only once the end of the call was on the screen.
let seen = false;
let watching = null;

function guard() {
  const panel = $("[data-after]");
  const end = panel && document.getElementById(panel.dataset.after);
  if (!end || !("IntersectionObserver" in window)) return;
  for (const fieldset of $$("[data-after] fieldset")) fieldset.disabled = !seen;
  if (seen || watching === end) return;
  watching = end;
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen = true;
    observer.disconnect();
    guard();
  });
  observer.observe(end);
}

function choose(decision) {
  const row = $(".held.sel");
  const root = row ?? $("[data-after]");
  if (!root) return;
  const details = $("details.full", root);
  if (details) details.open = true;
  const radio = $(`input[name=decision][value=${decision}]`, root);
  if (!radio || radio.matches(":disabled")) {
    (radio ?? root).scrollIntoView({ block: "center" });
    return;
  }
  radio.checked = true;
  (decision === "deny" ? $("textarea", root) : $(".go.yes", root))?.focus();
}

// Moves among the rows of the inbox.
function move(step) {
  const all = $$("[data-row]");
  if (!all.length) return;
  const focused = all.findIndex((row) => row.contains(document.activeElement));
  const here = focused < 0 ? all.findIndex((row) => row.classList.contains("sel")) : focused;
  const next = all[Math.min(all.length - 1, Math.max(0, here + step))];
  for (const row of all) row.classList.remove("sel");
  next.classList.add("sel");
  $("h2 a, summary", next)?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "a") choose("approve");
  else if (event.key === "d") choose("deny");
  else if (event.key === "Enter" && event.target === document.body) $(".held.sel h2 a")?.click();
  else return;
  event.preventDefault();
});

// ---- what cannot be undone is asked once more ----

addEventListener("submit", (event) => {
  const form = event.target;
  const question = form.dataset.confirm;
  if (question && !form.dataset.sure) {
    event.preventDefault();
    ask(question, event.submitter, form);
  }
});

function ask(question, submitter, form) {
  const dialog = document.createElement("dialog");
  const text = document.createElement("p");
  text.textContent = question;
  const buttons = document.createElement("div");
  buttons.className = "row";
  const yes = document.createElement("button");
  yes.className = "btn stop";
  yes.textContent = submitter?.firstChild?.textContent?.trim() || "Yes";
  const no = document.createElement("button");
  no.className = "btn";
  no.textContent = "Leave it";
  no.onclick = () => dialog.close();
  yes.onclick = () => {
    form.dataset.sure = "yes";
    dialog.close();
    form.requestSubmit(submitter ?? undefined);
  };
  buttons.append(yes, no);
  dialog.append(text, buttons);
  dialog.setAttribute("aria-label", question);
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
}

// ---- copying a new key ----

for (const button of $$("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.onclick = async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.lastChild.textContent = " Copied";
  };
}

for (const part of $$("[data-live]")) remember(part);
guard();
clocks();
setInterval(clocks, 1000);
// A page that was left for another is not listened to.
if ("EventSource" in window) listen();
