// The page's beginning: connects the parts and hands each message of the server to the one that it concerns.

import { Composer } from "./composer.js";
import { Link } from "./link.js";
import { Log } from "./log.js";
import { People } from "./people.js";
import { Settings } from "./settings.js";
import { announce, byId, element } from "./dom.js";

const state = { person: "", name: "", limits: {} };
const link = new Link(receive, showConnection);
const log = new Log(state, link);
const people = new People(state, link);
const settings = new Settings(link);
const composer = new Composer(state, link, log);

const receivers = {
  hello(message) {
    Object.assign(state, { person: message.person, name: message.name, limits: message.limits });
    showModel(message.model);
    showExamples(message.examples);
    composer.offer(message.commands);
    people.rename(message.name);
    people.count(message.count);
    composer.resume();
    log.load(message.posts, message.earlier);
  },
  earlier: (message) => log.prepend(message.posts, message.earlier),
  presence: (message) => people.count(message.count),
  post: (message) => log.put(message.post),
  model: (message) => showModel(message.model),
  delta: (message) => log.grow(message),
  remove: (message) => log.remove(message.id),
  notice: (message) => log.putPrivate(message.post),
  settings: (message) => settings.show(message),
  people: (message) => people.show(message.people, message.count),
  name: (message) => people.rename(message.name),
  typing: () => log.showTyping(),
  accepted: (message) => composer.accepted(message.client_id),
  rejected: (message) => composer.rejected(message.client_id, message.sentence, message.lost),
  said: (message) => announce(message.sentence),
  error(message) {
    if (message.client_id) composer.accepted(message.client_id);
    composer.remark(message.sentence);
    settings.say(message.sentence, true);
  },
};

function receive(message) {
  receivers[message.type]?.(message);
}

function showConnection(connected) {
  const line = byId("connection");
  line.hidden = connected;
  line.textContent = connected ? "" : "The connection is lost. Trying again…";
  document.body.classList.toggle("offline", !connected);
  if (!connected) settings.forget();
}

function showModel(model) {
  byId("model").textContent = model.name;
  byId("model").title = model.captioner ? `${model.name}; pictures: ${model.captioner}` : model.name;
  byId("small-print").textContent = model.demo_captioner
    ? "Pictures are described by the demo captioner, which knows coloured shapes only."
    : "";
  byId("welcome-text").textContent = model.captioner
    ? "Ask for code, ask a question, or drop in a picture. Everybody here sees the same channel."
    : "Ask for code or ask a question. Everybody here sees the same channel.";
}

function showExamples(examples) {
  const kinds = new Map();
  for (const { kind, text } of examples) kinds.set(kind, [...(kinds.get(kind) ?? []), text]);
  const groups = [...kinds].map(([kind, texts]) =>
    element("section", { class: "kind" }, [
      element("h3", {}, [kind]),
      ...texts.map((text) => {
        const button = element("button", { type: "button", class: "example" }, [text]);
        button.addEventListener("click", () => {
          composer.fill(text);
          if (text.startsWith("/caption")) byId("files").click();
        });
        return button;
      }),
    ]),
  );
  byId("examples").replaceChildren(...groups);
}

link.open();
