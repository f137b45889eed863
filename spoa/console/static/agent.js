// How the page asks the agent: with the token in a header where there is one, which lives in this module and nowhere else.

let token = "";

export function use(text) {
  token = text;
}

function headers(more = {}) {
  return token ? { ...more, Authorization: "Bearer " + token } : more;
}

export class Refused extends Error {}

export async function ask(path) {
  const response = await fetch(path, { headers: headers(), cache: "no-store", credentials: "omit" });
  if (!response.ok) throw new Refused((await response.text()).trim() || "the agent answers " + response.status);
  return response.json();
}

// Send something; what the agent says of it is returned, a sentence in `error` where it did not do it.
export async function send(path, body = {}) {
  const response = await fetch(path, {
    method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body),
    cache: "no-store", credentials: "omit",
  });
  const text = await response.text();
  if (response.headers.get("Content-Type")?.startsWith("application/json")) return JSON.parse(text);
  return { error: text.trim() || "the agent answers " + response.status };
}

// Read server-sent events until the signal aborts or the stream ends; EventSource could not bring the token.
export async function listen(path, signal, heard) {
  const response = await fetch(path, { headers: headers({ Accept: "text/event-stream" }), signal, cache: "no-store", credentials: "omit" });
  if (!response.ok) throw new Refused((await response.text()).trim() || "the agent answers " + response.status);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (lines.length) heard(JSON.parse(lines.join("\n")));
    }
  }
}
