// One post as an article: made once, then every part is changed only when it differs.

import { element, icon, patch } from "./dom.js";

const LONG_TEXT = 1500;
const HUES = 8;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const BUTTONS = {
  stop: ["Stop", "stop"],
  regenerate: ["Regenerate", "again"],
  continue: ["Continue", "on"],
};

export class Article {
  constructor(post, log) {
    this.log = log;
    const author = element("span", { class: "author", dir: "auto", id: `author-${post.id}` });
    this.parts = {
      author,
      avatar: element("span", { class: "avatar", "aria-hidden": "true" }),
      badge: element("span", { class: "badge", hidden: true }, ["bot"]),
      aside: element("span", { class: "aside" }),
      time: element("time"),
      thinking: element("div", { class: "thinking", hidden: true }),
      body: element("div", { class: "body", dir: "auto" }),
      files: element("ul", { class: "files", "aria-label": "Attachments", hidden: true }),
      status: element("p", { class: "status", hidden: true }),
      failure: element("p", { class: "failure", dir: "auto", hidden: true }),
      footer: element("p", { class: "footer", hidden: true }),
      actions: element("div", { class: "actions", hidden: true }),
    };
    const { avatar, badge, aside, time, ...rest } = this.parts;
    delete rest.author;
    const head = element("header", {}, [avatar, author, badge, aside, time]);
    this.node = element("article", { "aria-labelledby": author.id }, [head, ...Object.values(rest)]);
    this.show(post);
  }

  show(post) {
    const before = this.post;
    this.post = post;
    const own = post.author === this.log.state.person;
    const kind = post.kind === "person" ? (own ? "own" : "person") : "bot";
    this.node.className = [kind, post.growing && "growing", post.notice && "notice", post.whispered && "whispered", post.pending && "pending"]
      .filter(Boolean)
      .join(" ");
    this.node.dataset.id = post.id;
    this.node.dataset.position = post.position;
    this.node.setAttribute("aria-busy", String(Boolean(post.growing)));
    // What grows is announced once, when it is finished.
    this.node.setAttribute("aria-live", kind === "bot" && !post.notice ? "off" : "polite");
    this.showHead(post, kind);
    this.showThinking(post.thinking);
    this.showBody(post, before);
    this.showFiles(post, before);
    this.line("status", post.growing || !post.html ? post.status : "");
    this.line("failure", post.failure);
    this.line("footer", post.footer);
    this.showActions(post);
  }

  showHead(post, kind) {
    const { author, avatar, badge, aside, time } = this.parts;
    author.textContent = post.name;
    badge.hidden = kind !== "bot";
    avatar.textContent = kind === "bot" ? "" : [...post.name][0]?.toUpperCase();
    if (kind === "bot" && !avatar.firstChild) avatar.append(icon("line"));
    avatar.dataset.hue = hue(post.author);
    const asker = kind === "bot" && post.asker !== this.log.state.person && this.log.askerOf(post);
    aside.textContent = post.whispered ? "only you see this" : asker ? `to ${asker}` : "";
    const made = new Date(post.created_at * 1000);
    time.textContent = clock.format(made);
    time.dateTime = made.toISOString();
    time.title = full.format(made);
  }

  showThinking(thinking) {
    const { thinking: part } = this.parts;
    part.hidden = !thinking;
    if (!thinking) return part.replaceChildren();
    const seconds = Math.round(thinking.seconds);
    const words = thinking.label || (thinking.done ? `Thought for ${seconds} s` : `Thinking… ${seconds} s`);
    const wanted = thinking.text ? "DETAILS" : "P";
    if (part.firstElementChild?.tagName !== wanted) {
      part.replaceChildren(
        thinking.text ? element("details", {}, [element("summary"), element("div", { class: "thoughts", dir: "auto" })]) : element("p"),
      );
    }
    (part.querySelector("summary") ?? part.firstElementChild).textContent = words;
    if (thinking.text) part.querySelector(".thoughts").textContent = thinking.text;
    return undefined;
  }

  showBody(post, before) {
    const { body } = this.parts;
    if (post.held) {
      if (!before?.held) body.replaceChildren(this.heldButton(post));
    } else if (post.kind !== "person") {
      if (before?.html !== post.html) patch(body, post.html);
    } else if (before?.text !== post.text) {
      body.classList.add("plain");
      body.replaceChildren(...plain(post.text));
    }
    body.hidden = !(post.html || post.text || post.held);
  }

  showFiles(post, before) {
    const { files } = this.parts;
    if (before && !before.pictures && sameFiles(before, post)) return;
    const local = post.pictures ?? before?.pictures ?? [];
    const items = post.pending ? local.map(({ name, url }) => picture(name, url)) : post.attachments.map(attachment);
    files.replaceChildren(...items);
    files.hidden = items.length === 0;
  }

  line(name, text) {
    const part = this.parts[name];
    if (part.textContent !== (text ?? "")) part.textContent = text ?? "";
    part.hidden = !text;
  }

  showActions(post) {
    const { actions } = this.parts;
    const mine = post.asker === this.log.state.person;
    const rest = post.actions.filter((action) => action !== "stop");
    const wanted = [...(mine ? (post.growing ? ["stop"] : rest) : []), ...(post.whispered ? ["dismiss"] : [])];
    if (wanted.join() !== this.wanted) actions.replaceChildren(...wanted.map((action) => this.button(action)));
    this.wanted = wanted.join();
    actions.hidden = wanted.length === 0;
  }

  button(action) {
    const [label, symbol] = BUTTONS[action] ?? ["Dismiss", "close"];
    const button = element("button", { type: "button", class: `action ${action}` }, [icon(symbol), label]);
    const act = action === "dismiss" ? () => this.log.remove(this.post.id) : () => this.log.press(this.post, action, button);
    button.addEventListener("click", act);
    return button;
  }

  heldButton(post) {
    const button = element("button", { type: "button", class: "action held" }, [`Show this long message (${Math.ceil(post.held / 1000)} kB)`]);
    button.addEventListener("click", () => this.log.bring(post, button));
    return button;
  }

  stop() {
    this.parts.actions.querySelector("button.stop:enabled")?.click();
  }

  refuse(sentence, edit) {
    this.node.classList.add("refused");
    this.line("failure", sentence);
    this.line("status", "");
    const button = element("button", { type: "button", class: "action" }, ["Edit"]);
    button.addEventListener("click", edit);
    this.parts.actions.replaceChildren(button);
    this.parts.actions.hidden = false;
  }

  /** What a screen reader hears of a finished answer. */
  spoken() {
    const body = this.parts.body.cloneNode(true);
    for (const bar of body.querySelectorAll(".code-bar")) bar.remove();
    const text = `${body.textContent} ${this.post.failure}`.trim();
    return text.length > 400 ? `${text.slice(0, 400)}…` : text;
  }
}

function hue(author) {
  let sum = 0;
  for (const each of author) sum = (sum * 31 + each.codePointAt(0)) % 9973;
  return author ? sum % HUES : "bot";
}

/** A person's text as written; a very long one is folded. */
function plain(text) {
  if (text.length <= LONG_TEXT) return [text];
  const rest = element("details", { class: "rest" }, [
    element("summary", {}, [`Show all ${text.length.toLocaleString()} characters`]),
    element("div", { dir: "auto" }, [text.slice(LONG_TEXT)]),
  ]);
  return [text.slice(0, LONG_TEXT), rest];
}

const sameFiles = (before, post) => JSON.stringify(before.attachments) === JSON.stringify(post.attachments);

const picture = (name, url) => element("li", {}, [element("img", { src: url, alt: name, loading: "lazy" })]);

function attachment({ id, name, media_type: type }) {
  if (id && type.startsWith("image/")) return picture(name, `/files/${id}`);
  if (!id) return element("li", { class: "file" }, [icon("file"), name]);
  const link = element("a", { href: `/files/${id}`, download: name, class: "file" }, [icon("file"), name]);
  return element("li", {}, [link]);
}
