// What comes from outside becomes text here, and nothing else: no markup is ever made from a string.

// Characters that can't be seen, or that turn the order of others: shown by their number, so that nobody is fooled.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

export function plain(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.replace(UNSEEN, (one) => "\\u{" + one.codePointAt(0).toString(16) + "}");
}

// Make an element: `made("p", {class: "quiet"}, "text", another)`. Attributes are set as text; none of them is a handler.
export function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : plain(child));
  }
  return element;
}

export function pill(text, state) {
  return made("span", { class: "pill " + state }, text);
}

export function facts(rows) {
  return made("dl", {}, rows.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => [made("dt", {}, name), made("dd", {}, value)]));
}

export function card(title, mark, ...content) {
  return made("article", { class: "card" }, made("h3", {}, made("span", {}, title), mark), ...content);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(Math.abs(seconds)));
  const at = UNITS.findIndex(([size]) => whole >= size);
  if (at < 0) return "0 s";
  const [size, unit] = UNITS[at];
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((whole % size) / next[0]) : 0;
  return Math.floor(whole / size) + " " + unit + (rest ? " " + rest + " " + next[1] : "");
}

export function when(seconds) {
  if (!seconds) return "never";
  const ago = Date.now() / 1000 - seconds;
  return ago >= 0 ? duration(ago) + " ago" : "in " + duration(ago);
}

export function instant(seconds) {
  return seconds ? new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) : "never";
}
