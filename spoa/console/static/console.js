// The page: views, keys, and what is shown in each.

import { ask, listen, send, use } from "/console/agent.js";
import { explained } from "/console/explanation.js";
import { card, duration, facts, instant, made, pill, plain, when } from "/console/shown.js";

const VIEWS = ["now", "decisions", "why", "lists", "blocks", "history"];
const MOST_ROWS = 200;
const at = (id) => document.getElementById(id);
let status = null;
let right = { may_change: false, may_look: true, has_decisions: true };

// -- views and keys ---------------------------------------------------------------------------------------------

function show(view, focus = false) {
  for (const one of VIEWS) {
    at(one).hidden = one !== view;
    const tab = at("tab-" + one);
    tab.setAttribute("aria-selected", String(one === view));
    tab.tabIndex = one === view ? 0 : -1;
    if (one === view) {
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
      if (focus) tab.focus();
    }
  }
  history.replaceState(null, "", "#" + view);
  if (view === "history") showHistory();
}

function current() {
  return VIEWS.find((one) => !at(one).hidden);
}

function toggleTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
}

function step(by) {
  const buttons = [...at("rows").querySelectorAll(":scope > li > button")];
  if (!buttons.length) return;
  const here = buttons.findIndex((one) => one.parentElement.contains(document.activeElement));
  buttons[Math.min(buttons.length - 1, Math.max(0, here < 0 ? 0 : here + by))].focus();
}

const KEYS = {
  "/": () => { show("decisions"); at("filter").elements.text.focus(); },
  j: () => { show("decisions"); step(1); },
  k: () => { show("decisions"); step(-1); },
  w: () => document.activeElement.closest?.(".row")?.querySelector("[data-why]")?.click(),
  p: () => at("pause").click(),
  t: toggleTheme,
  "?": () => at("help-dialog").showModal(),
};
VIEWS.forEach((view, index) => { KEYS[index + 1] = () => show(view, true); });

document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (target.closest("[role=tablist]") && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
    const next = VIEWS.indexOf(current()) + (event.key === "ArrowRight" ? 1 : -1);
    show(VIEWS[(next + VIEWS.length) % VIEWS.length], true);
    return;
  }
  if (target.matches("input, select, textarea") || target.closest("dialog") || event.ctrlKey || event.altKey || event.metaKey) {
    if (event.key === "Escape" && !target.closest("dialog")) target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});
for (const view of VIEWS) at("tab-" + view).addEventListener("click", () => show(view));
at("theme").addEventListener("click", toggleTheme);
at("help").addEventListener("click", () => at("help-dialog").showModal());

let noticeTimer = 0;
function notice(text, isBad = false) {
  const box = at("notice");
  box.textContent = plain(text);
  box.className = isBad ? "bad" : "";
  box.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { box.hidden = true; }, 8000);
}

// -- now --------------------------------------------------------------------------------------------------------

function wrongs() {
  const found = [];
  const bad = (text, isSoft = false) => found.push(made("p", { class: "wrong" + (isSoft ? " soft" : "") }, text));
  if (!status.ready) bad("Not all workers serve.");
  if (!status.clock_usable) bad("The clock can't be right: every certificate is denied.");
  const last = status.last_reload;
  if (last && !["activated", "unchanged"].includes(last.result)) {
    bad("What the policy directory holds is not in force (" + plain(last.result) + ", " + when(last.at) + "):");
    last.problems.slice(0, 20).forEach((problem) => bad(problem));
  }
  for (const part of [status.blocks, status.break_glass]) if (part.problem) bad(part.problem);
  for (const name of status.break_glass.open) bad("Break glass: " + plain(name) + " is open.", true);
  for (const [name, issuer] of Object.entries(status.issuers)) {
    if (!["good", "not_checked"].includes(issuer.revocation.state)) bad("Revocation of " + plain(name) + " is " + plain(issuer.revocation.state) + ": " + plain(issuer.revocation.reason) + ".");
  }
  return found;
}

function candidateCard() {
  const candidate = status.candidate;
  if (!candidate) return null;
  const isBad = candidate.problems.length > 0;
  return card("Candidate", pill(isBad ? "has problems" : "judged beside", isBad ? "bad" : ""), made("p", { class: "mono" }, candidate.revision || "none"),
    facts(Object.entries(candidate.decisions).map(([change, count]) => [change.replaceAll("_", " "), String(count)])),
    candidate.problems.map((problem) => made("p", { class: "quiet" }, problem)));
}

// What the newest decisions say, so that the first look already tells what is denied.
function latelyCard() {
  if (!right.has_decisions) return card("Lately", null, made("p", { class: "quiet" }, "No decision log is written to a file, so there is nothing to tell."));
  const denied = new Map();
  for (const one of lately) if (one.verdict === "deny") denied.set(one.reason, (denied.get(one.reason) ?? 0) + 1);
  const rows = [...denied].sort((a, b) => b[1] - a[1]).slice(0, 6);
  const count = lately.filter((one) => one.verdict === "deny").length;
  const isFiltered = Object.values(values(at("filter"))).some(Boolean);
  const open = made("button", { type: "button" }, "Look at them");
  open.addEventListener("click", () => { at("filter").elements.verdict.value = "deny"; show("decisions", true); restart(); });
  if (!lately.length) return card("Lately", null, made("p", { class: "quiet" }, "No decisions yet."));
  return card("Lately", pill(count ? "denies" : "no denies", count ? "" : "good"), made("p", { class: "big" }, count + " of " + lately.length), isFiltered ? made("p", { class: "quiet" }, "of those that the filter lets through") : null,
    facts(rows.map(([reason, one]) => [plain(reason), String(one)])), count ? made("p", { class: "actions" }, open) : null);
}

function showNow() {
  const serving = status.workers.filter((worker) => worker.serving).length;
  const last = status.last_reload;
  const isFine = last && ["activated", "unchanged"].includes(last.result);
  at("wrong").replaceChildren(...wrongs());
  if (at("cards").contains(document.activeElement)) return; // whoever is there with the keyboard stays there
  at("cards").replaceChildren(...[
    card("Policy", pill(status.mode ?? "", status.mode === "shadow" ? "" : "good"), made("p", { class: "big mono" }, status.revision || "none"),
      facts([["active", when(status.since)], ["rules", status.rules], ["identities", status.identities], ["routes", status.routes], ["from", status.policies]])),
    latelyCard(),
    card("Workers", pill(serving === status.workers.length ? "all serve" : "some don't", serving === status.workers.length ? "good" : "bad"),
      made("p", { class: "big" }, serving + " of " + status.workers.length),
      facts([["connections", String(status.workers.reduce((sum, one) => sum + one.connections, 0))], ["listening", status.listen.map(plain).join(", ")], ["version", status.version], ["log", status.decision_log ?? "none"]])),
    card("Last reload", last ? pill(last.result, isFine ? "good" : "bad") : null, facts(last ? [["when", when(last.at)], ["cause", last.cause], ["took", last.seconds.toFixed(2) + " s"], ["warnings", String(last.warnings.length)]] : [])),
    card("Revocation", null, facts(Object.entries(status.issuers).map(([name, one]) => [plain(name), one.revocation.state]))),
    card("Blocks and switches", status.break_glass.open.length ? pill("open", "") : null, facts([["blocked", String(status.blocks.count)], ["open switches", status.break_glass.open.map(plain).join(", ") || "none"]])),
    candidateCard(),
  ].filter(Boolean));
}

// -- lists and revocation ---------------------------------------------------------------------------------------

function sourceCard(issuer, name, source) {
  const isGood = source.state === "good";
  const held = source.lists ?? [];
  const next = Math.min(...held.map((one) => one.next_update).filter(Boolean));
  return card(plain(issuer) + " · " + plain(name), pill(source.state, isGood ? "good" : "bad"), facts([
    ["reason", isGood ? "" : source.reason], ["entries", source.entries], ["lists", held.length || ""], ["next update", Number.isFinite(next) ? when(next) : ""],
    ["responder", source.responder], ["certificates", source.certificates ? Object.entries(source.certificates).map(([state, count]) => count + " " + state).join(", ") : ""],
    ["last answer", source.last_success === undefined ? "" : when(source.last_success)], ["passed unchecked", String(source.soft_fails ?? 0)], ["error", source.error],
  ]), (source.urls ?? []).map((url) => made("p", { class: "quiet" }, plain(url.url) + ": " + (url.problem ? plain(url.problem) + " (" + plain(url.detail) + "), " : "") + "fetched " + when(url.last_success))),
  (source.problems ?? []).map((one) => made("p", { class: "wrong soft" }, plain(one.file) + ": " + plain(one.reason) + " " + plain(one.detail))));
}

function showLists() {
  const lists = Object.entries(status.lists ?? {});
  at("list-rows").replaceChildren(...(lists.length ? lists.map(([name, list]) => card(name, null, facts([["entries", String(list.entries)], ["next expiry", list.soonest_expiry ? when(list.soonest_expiry) : "none"]])))
    : [made("p", { class: "quiet" }, "The policy has no lists.")]));
  const issuers = Object.entries(status.issuers ?? {});
  const cards = issuers.flatMap(([name, { revocation }]) => revocation.sources
    ? Object.entries(revocation.sources).map(([source, row]) => sourceCard(name, source, row))
    : [card(name, pill(revocation.state, "neutral"), made("p", { class: "quiet" }, revocation.reason))]);
  const authorities = Object.entries(status.authorities ?? {}).filter(([, one]) => one.soonest_expiry)
    .map(([name, one]) => made("p", { class: "quiet" }, "The first CA certificate of " + plain(name) + " expires " + when(one.soonest_expiry) + "."));
  at("issuer-rows").replaceChildren(...cards, ...authorities);
}

// -- blocks and switches ----------------------------------------------------------------------------------------

async function sure(text) {
  const dialog = at("sure-dialog");
  at("sure-text").textContent = plain(text);
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

async function change(path, body, question, done) {
  if (!(await sure(question))) return false;
  const answer = await send(path, body);
  const problems = answer.error ?? (answer.problems?.length ? answer.problems.map((one) => one.message ?? one).join("; ") : "");
  notice(problems || done, Boolean(problems));
  await look();
  return !problems;
}

function showBlocks() {
  const blocks = status.blocks.entries;
  at("block-rows").replaceChildren(...(blocks.length ? blocks.map((block) => {
    const lift = right.may_change && made("button", { type: "button" }, "Unblock");
    if (lift) lift.addEventListener("click", () => change("/console/unblock", { target: block.target }, "Unblock " + block.target + "?", "Unblocked."));
    return card(made("code", {}, block.target), lift || null, facts([["since", instant(block.blocked)], ["until", block.expires ? instant(block.expires) : "for good"], ["reason", block.reason], ["ticket", block.ticket]]));
  }) : [made("p", { class: "quiet" }, "Nobody is blocked.")]));
  const glass = status.break_glass;
  at("switch-rows").replaceChildren(...(Object.keys(glass.switches).length ? Object.entries(glass.switches).map(([name, one]) => {
    const opening = glass.entries.find((entry) => entry.switch === name && !entry.refused);
    const isOpen = glass.open.includes(name);
    const close = isOpen && right.may_change && made("button", { type: "button" }, "Close");
    if (close) close.addEventListener("click", () => change("/console/close", { switch: name }, "Close " + name + "?", "Closed."));
    return card(name, made("span", {}, pill(isOpen ? "open" : "closed", isOpen ? "" : "good"), " ", close || null),
      facts(isOpen && opening ? [["until", instant(opening.until)], ["ticket", opening.ticket], ["by", opening.by]] : [["at most", duration(one.max_duration)], ["ticket", one.ticket]]));
  }) : [made("p", { class: "quiet" }, "The policy declares no switches.")]));
  const names = at("open").elements.switch;
  const wanted = Object.keys(glass.switches);
  if ([...names.options].map((one) => one.value).join("\n") !== wanted.join("\n")) names.replaceChildren(...wanted.map((name) => made("option", { value: name }, name)));
  for (const form of document.querySelectorAll(".changes")) form.hidden = !right.may_change;
  at("open").hidden = !right.may_change || !Object.keys(glass.switches).length;
  at("promote").hidden = !status.candidate;
  at("how-to-change").textContent = right.may_change ? "Every change is written into the agent's log and the history." : "Read only. To change something, give the token at the top, or use spoa-authz block, unblock, breakglass, reload and promote.";
}

function values(form) {
  return Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
}

at("block").addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = values(event.target);
  if (await change("/console/block", asked, "Refuse " + asked.target + " from now on?", "Blocked.")) event.target.reset();
});
at("open").addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = values(event.target);
  if (await change("/console/open", asked, "Break glass: open " + asked.switch + " for " + asked.ttl + "?", "Opened.")) event.target.reset();
});
at("reload").addEventListener("click", () => change("/reload", {}, "Read the policy directory again?", "What the directory holds is in force."));
at("promote").addEventListener("click", () => change("/promote", {}, "Put the candidate in the place of the active policy?", "The candidate is active."));

at("right").addEventListener("click", () => { at("token").value = ""; at("token-dialog").showModal(); });
at("token-dialog").addEventListener("close", async () => {
  const dialog = at("token-dialog");
  const text = at("token").value.trim();
  at("token").value = "";
  if (dialog.returnValue === "use" && text) use(text);
  else if (dialog.returnValue === "forget") use("");
  else return;
  await learnRight();
  if (dialog.returnValue === "use" && !right.may_change) notice("The agent doesn't take this token.", true);
  await look();
  restart();
});

async function learnRight() {
  right = await ask("/console/right");
  at("right").textContent = right.may_change ? "May change" : "Read only";
  at("right").dataset.may = right.may_change;
}

// -- decisions --------------------------------------------------------------------------------------------------

let stopping = new AbortController();
let isPaused = false;
let held = [];
let lately = [];
const known = { reasons: new Set(), identities: new Set() };

function learn(kind, value) {
  if (!value || known[kind].has(value) || known[kind].size > 500) return;
  known[kind].add(value);
  at(kind).append(made("option", { value }));
}

function details(decision) {
  const { cert } = decision;
  const why = made("button", { type: "button", "data-why": "" }, "Why? (w)");
  why.addEventListener("click", () => explain({ decision }));
  const block = right.may_change && /^[0-9a-f]{64}$/.test(cert?.sha256) && made("button", { type: "button", class: "danger" }, "Block this certificate");
  if (block) block.addEventListener("click", () => { show("blocks"); at("block").elements.target.value = "sha256:" + cert.sha256; at("block").elements.reason.focus(); });
  return made("div", { class: "details" }, facts([
    ["id", decision.id], ["time", decision.time], ["request", [decision.method, decision.host, decision.path].map(plain).filter(Boolean).join(" ")], ["source", decision.src],
    ["rule", decision.rule], ["all rules", (decision.rules ?? []).map(plain).join(", ")], ["identity", decision.identity], ["route", decision.route], ["shadow", decision.shadow],
    ["subject", cert?.subject], ["issuer", cert?.issuer], ["serial", cert?.serial], ["expires", cert?.not_after], ["sha256", cert?.sha256], ["revocation", decision.revocation], ["detail", decision.detail],
    ["break glass", (decision.break_glass ?? []).map(plain).join(", ")], ["candidate", decision.candidate], ["latency", decision.latency_us + " µs"], ["revision", decision.revision],
  ]), made("p", { class: "actions" }, block || null, why));
}

function row(decision) {
  const button = made("button", { type: "button", "aria-expanded": "false" },
    made("time", { datetime: plain(decision.time) }, plain(decision.time).slice(11, 19)),
    made("span", { class: "verdict" }, decision.verdict),
    made("span", { class: "what" }, [decision.method, decision.path].map(plain).filter(Boolean).join(" ") || "TCP"),
    made("span", { class: "why-word" }, plain(decision.reason) + (decision.rule ? " · " + plain(decision.rule) : "")),
    made("span", { class: "who" }, decision.identity || decision.cert?.subject || decision.cert?.sha256?.slice(0, 16) || "no certificate"));
  const item = made("li", { class: "row new " + (decision.verdict === "deny" ? "deny" : "") + (decision.shadow ? " shadow" : "") }, button);
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) item.querySelector(".details").remove();
    else item.append(details(decision));
  });
  return item;
}

function add(decisions) {
  lately = [...lately, ...decisions].slice(-MOST_ROWS);
  if (!isPaused) {
    place(decisions);
    return;
  }
  held = [...held, ...decisions].slice(-MOST_ROWS);
  at("stream").textContent = "Paused; " + held.length + " more wait.";
}

function place(decisions) {
  for (const decision of decisions) {
    learn("reasons", decision.reason);
    learn("identities", decision.identity);
  }
  const list = at("rows");
  list.prepend(...decisions.slice(-MOST_ROWS).reverse().map(row));
  // What somebody reads stays: unfolded rows and the one that has the focus go last.
  for (const old of [...list.children].slice(MOST_ROWS)) if (!old.querySelector(".details") && !old.contains(document.activeElement)) old.remove();
}

function heard({ decisions, skipped, unread }) {
  const isFirst = !lately.length;
  add(decisions);
  if (isFirst && status) showNow();
  if (isPaused) return;
  at("stream").textContent = skipped || unread > 1 ? "Live; more comes than can be shown, the newest is." : "Live.";
}

async function restart() {
  stopping.abort();
  const stop = stopping = new AbortController();
  held = [];
  lately = [];
  at("rows").replaceChildren();
  if (!right.has_decisions) { at("stream").textContent = "The agent writes no decision log to a file (--decision-log), so there is nothing to show live."; return; }
  if (!right.may_look) { at("stream").textContent = "Give the token at the top to look."; return; }
  while (!stop.signal.aborted) {
    try {
      at("stream").textContent = "Live; nothing yet.";
      await listen("/console/decisions?" + new URLSearchParams(values(at("filter"))), stop.signal, heard);
    } catch (error) {
      if (stop.signal.aborted) return;
      at("stream").textContent = "Not connected: " + plain(error.message) + ". Trying again.";
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
    if (stop.signal.aborted) return;
    lately = [];
    at("rows").replaceChildren();
  }
}

let filterTimer = 0;
at("filter").addEventListener("input", () => { clearTimeout(filterTimer); filterTimer = setTimeout(restart, 250); });
at("filter").addEventListener("submit", (event) => event.preventDefault());
at("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  at("pause").setAttribute("aria-pressed", String(isPaused));
  at("pause").textContent = isPaused ? "Go on" : "Pause";
  const waiting = held;
  held = [];
  if (isPaused) at("stream").textContent = "Paused.";
  else { place(waiting); at("stream").textContent = "Live."; }
});

// -- why --------------------------------------------------------------------------------------------------------

async function explain(asked) {
  show("why");
  const box = at("explanation");
  box.replaceChildren(made("p", { class: "quiet" }, "Judging …"));
  try {
    box.replaceChildren(explained(await send("/console/explain", asked)));
  } catch (error) {
    box.replaceChildren(made("p", { class: "wrong" }, error.message));
  }
  box.scrollIntoView({ block: "start", behavior: "auto" });
}

at("what-if").addEventListener("submit", (event) => { event.preventDefault(); explain(values(event.target)); });

// -- history ----------------------------------------------------------------------------------------------------

const TOLD = {
  "in force": (one) => plain(one.file) + (one.by?.length ? " (owner " + one.by.map(plain).join(", ") + ")" : "")
    + one.came.map((text) => "; + " + plain(text)).join("") + one.went.map((text) => "; − " + plain(text)).join(""),
  policy: (one) => plain(one.result) + " (" + plain(one.cause) + "): revision " + plain(one.revision) + (one.problems ? ", " + one.problems + " problems" : "")
    + (one.cause === "rollback" && one.by?.length ? ", by " + one.by.map(plain).join(", ") : "")
    + (one.files?.length ? "; " + one.files.map((file) => plain(file.file) + " " + plain(file.change) + (file.owner ? " (owner " + plain(file.owner) + ")" : "")).join(", ") : ""),
};

function entry(one) {
  const rest = Object.entries(one).filter(([key]) => !["at", "what"].includes(key)).map(([key, value]) => plain(key) + ": " + plain(value)).join(", ");
  const isBad = one.what === "policy" && !["activated", "unchanged"].includes(one.result);
  return made("li", { class: "row" + (isBad ? " bad" : "") }, made("div", { class: "entry" }, made("time", {}, instant(one.at)), made("strong", {}, one.what), made("span", { class: "text" }, TOLD[one.what]?.(one) ?? rest)));
}

async function showHistory() {
  try {
    const { entries } = await ask("/console/history");
    at("entries").replaceChildren(...(entries.length ? entries.map(entry) : [made("li", { class: "quiet" }, "Nothing has changed yet.")]));
  } catch (error) {
    at("entries").replaceChildren(made("li", { class: "wrong" }, error.message));
  }
}

// -- all the time -----------------------------------------------------------------------------------------------

async function look() {
  const ready = at("ready");
  try {
    status = await ask("/status");
  } catch {
    ready.className = "pill bad";
    ready.textContent = "unreachable";
    return;
  }
  ready.className = "pill " + (status.ready ? "good" : "bad");
  ready.textContent = status.ready ? "ready" : "not ready";
  at("revision").textContent = plain(status.revision) || "none";
  showNow();
  showLists();
  if (!document.activeElement?.closest?.("#block-rows, #switch-rows")) showBlocks();
}

async function begin() {
  const wanted = location.hash.slice(1);
  show(VIEWS.includes(wanted) ? wanted : "now");
  try {
    await learnRight();
  } catch (error) {
    notice(error.message, true);
  }
  await look();
  restart();
  setInterval(() => { if (!document.hidden) look(); }, 3000);
}

begin();
