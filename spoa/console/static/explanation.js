// An explanation as `spoa-authz explain --json` writes it, for people.

import { facts, made, pill, plain } from "/console/shown.js";

const OUTCOMES = {
  allows: ["allows", "good"], denies: ["denies", "bad"], not_met: ["not met", "bad"], met: ["met", "good"],
  excepted: ["excepted", "neutral"], not_matched: ["not matched", "neutral"], not_in_force: ["not in force", "neutral"],
};

function certificate(said) {
  if (!said) return "none";
  return Object.entries(said).map(([key, value]) => key + ": " + (Array.isArray(value) ? value.map(plain).join(" | ") : plain(value))).join(", ");
}

function gate(row) {
  const [mark, kind] = row.passed === null ? ["·", "unasked"] : row.passed ? ["✓", "yes"] : ["✗", "no"];
  const word = row.passed === null ? "not asked" : row.passed ? "passed" : "failed";
  return made("li", { class: row.passed === null ? "unasked" : "" }, made("span", { class: kind, "aria-label": word, role: "img" }, mark),
    made("code", {}, row.gate), made("span", { class: "seen" }, row.seen ?? ""));
}

function matcher(row) {
  const name = row.identity ? " " + row.identity : "";
  return made("li", {}, made("span", { class: row.holds ? "yes" : "no" }, row.holds ? "✓ " : "✗ "), row.part + name + ": ",
    made("code", {}, plain(row.key) + " = " + plain(row.wanted)), ", seen: ", made("code", {}, row.seen));
}

function rule(row) {
  const [word, state] = OUTCOMES[row.outcome] ?? [row.outcome, "neutral"];
  return made("details", { class: "rule" + (row.decisive ? " decisive" : ""), open: row.decisive },
    made("summary", {}, pill(word, state), " ", made("code", {}, row.id), " ", row.effect + (row.mode === "shadow" ? ", shadow" : "") + (row.decisive ? ", decisive" : "")),
    made("ul", { class: "matchers" }, row.matchers.map(matcher)), made("p", { class: "quiet" }, row.position));
}

function logged(row) {
  if (!row) return null;
  const words = ["Logged " + plain(row.time) + ": " + plain(row.verdict) + " " + plain(row.reason) + (row.rule ? " by rule " + plain(row.rule) : "") + "."];
  if (!row.is_same_revision) words.push("That was under another revision, " + plain(row.revision) + ".");
  if (row.not_in_log.length) words.push("Not in the log, so unavailable here: " + row.not_in_log.map(plain).join(", ") + ".");
  if (row.differs) words.push("Judged again now, it comes out otherwise.");
  return made("p", { class: row.differs ? "wrong soft" : "quiet" }, words.join(" "));
}

export function explained(row) {
  if (row.error) return made("p", { class: "wrong" }, row.error);
  const isAllow = row.verdict === "allow";
  const refused = row.gates.filter((one) => one.passed === false);
  return made("article", { class: "card explained" },
    made("p", { class: "headline" }, pill(row.verdict, isAllow ? "good" : "bad"), " ", row.reason, row.rule ? " by rule " : "", row.rule ? made("code", {}, row.rule) : "",
      made("span", { class: "quiet" }, " status " + row.status + (row.shadow ? ", shadow would deny" : ""))),
    logged(row.logged),
    row.nearest ? made("p", { class: "nearest" }, made("strong", {}, "Nearest miss: "), row.nearest.sentence) : null,
    facts([["identity", row.identity], ["route", row.route], ["certificate", certificate(row.certificate)], ["detail", row.detail],
      ["revocation", row.revocation.state ? plain(row.revocation.state) + (row.revocation.detail ? " (" + plain(row.revocation.detail) + ")" : "") : ""], ["revision", row.revision]]),
    made("details", { class: "rule", open: refused.length > 0 }, made("summary", {}, made("strong", {}, "Gates"), " ", refused.length ? pill(refused[0].gate + " failed", "bad") : pill("all passed", "good")),
      made("ul", { class: "gates" }, row.gates.map(gate))),
    row.rules.map(rule));
}
