// What this browser's person typed behind a command: the channel has only the command's name, for everybody.

const KEPT = "own words";
const MOST = 200;

/** By client_id. */
const words = new Map(JSON.parse(sessionStorage.getItem(KEPT) ?? "[]"));

export function noteWords(clientId, text) {
  if (!text.trimStart().startsWith("/")) return;
  words.set(clientId, text);
  if (words.size > MOST) words.delete(words.keys().next().value);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify([...words]));
  } catch {
    // What does not fit is only not kept over a reload.
  }
}

/** The post as its author is to see it. */
export function withWords(post, person) {
  const text = post.author === person && post.kind === "person" ? words.get(post.client_id) : undefined;
  return text === undefined ? post : { ...post, text };
}
