// Asks the worker; what it refuses becomes an Error with the worker's own sentence.

const ANSWER_MS = 30_000; // a change is answered once Kafka has it

/** Send a request; *body*, if any, as JSON.  Return the decoded answer, null for an empty one. */
export async function ask(method, path, body) {
  const options = { method, signal: AbortSignal.timeout(ANSWER_MS), headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    const late = error.name === "TimeoutError" ? "has not answered within 30 s" : "does not answer";
    throw new Error(`The worker ${late}: it is not known whether this was done.`);
  }
  const text = await answer.text();
  const told = text ? decoded(text) : null;
  if (!answer.ok) throw new Error(told?.message ?? `HTTP ${answer.status}`);
  return told;
}

/** The path of a connector. */
export function connectorPath(name, rest = "") {
  return `connectors/${encodeURIComponent(name)}${rest}`;
}

function decoded(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { message: "The answer is no JSON: something between this page and the worker has sent it." };
  }
}
