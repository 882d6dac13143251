// The conversation: one article for each post, edited in place, and a view that follows unless somebody reads above.

import { announce, byId, newId } from "./dom.js";
import { Article } from "./article.js";
import { copyFormulas } from "./formulas.js";
import { withWords } from "./own_words.js";

const NEAR_PX = 48;
const TYPING_MS = 6000;
const ABOVE_PX = 1200;

export class Log {
  constructor(state, link) {
    this.state = state;
    this.link = link;
    this.view = byId("log");
    this.list = byId("posts");
    this.articles = new Map();
    this.pending = new Map();
    this.askers = new Map();
    this.asked = new Set();
    this.following = true;
    this.earlier = false;
    this.asking = false;
    this.above = new Set();
    this.top = 0;
    this.unread = 0;
    this.view.addEventListener("scroll", () => this.scrolled());
    new ResizeObserver(() => this.follow()).observe(this.list);
    new ResizeObserver(() => this.follow()).observe(this.view);
    byId("latest").addEventListener("click", () => this.jump());
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.list.addEventListener("copy", copyFormulas);
    document.addEventListener("visibilitychange", () => this.read());
  }

  /** The newest posts: what changed meanwhile is edited in place, what was deleted goes. */
  load(posts, earlier) {
    const ids = new Set(posts.map((post) => post.id));
    const oldest = posts.length ? posts[0].position : Infinity;
    // Without a post that was here before, there may be others between these and those.
    const joined = this.articles.has(posts[0]?.id);
    for (const [id, { post }] of [...this.articles]) {
      if (!ids.has(id) && post.position >= 0 && (post.position >= oldest || !joined)) this.remove(id);
    }
    for (const post of posts) this.put(post, true);
    byId("welcome").hidden = this.list.childElementCount > 0;
    if (!joined) this.earlier = earlier;
    this.asking = false;
    this.follow();
    this.askEarlier();
    // What grew above these when the connection broke may be over, and nobody tells of it again.
    for (const { post } of this.articles.values()) if (post.growing && !ids.has(post.id)) this.askWhole(post);
  }

  /** Posts before the oldest one: what somebody reads stays where it is. */
  prepend(posts, earlier) {
    this.earlier = earlier;
    this.asking = false;
    const below = this.view.scrollHeight - this.view.scrollTop;
    for (const post of posts) this.put(post, true);
    this.view.scrollTop = this.view.scrollHeight - below;
    if (posts.length) this.askEarlier();
  }

  /** Asks for earlier posts as soon as their place is nearly in sight. */
  askEarlier() {
    if (!this.earlier || this.asking || this.view.scrollTop > ABOVE_PX) return;
    this.asking = true;
    this.link.send("earlier", { type: "earlier", before: this.oldest() });
  }

  /** The position of the first post that is here. */
  oldest() {
    return Math.min(...[...this.articles.values()].map(({ post }) => post.position).filter((position) => position >= 0));
  }

  put(told, whole = false) {
    const post = withWords(told, this.state.person);
    // What was asked for is how it is, though a server that was killed may count its states from an earlier one.
    whole ||= this.asked.delete(post.id);
    if (post.kind === "person") this.askers.set(post.author, post.name);
    const known = this.articles.get(post.id) ?? this.adopt(post);
    // What changed above what was loaded comes with the posts around it, when somebody scrolls there.
    if (!known && !whole && this.earlier && post.position < this.oldest()) return this.above.add(post.id);
    if (!known) this.append(post, whole);
    else if (post.held && !known.post.held && post.revision === known.post.revision) return;
    else if (known.post.held && !post.held) this.change(known, post);
    else if (whole ? JSON.stringify(known.post) !== JSON.stringify(post) : post.revision > known.post.revision) this.change(known, post);
  }

  /** A newer state of a post, as what is new to the one that is shown. */
  grow({ id, base, set }) {
    const known = this.articles.get(id);
    if (!known && this.above.has(id)) return;
    if (!known || known.post.revision !== base) return this.link.renew();
    const { post } = known;
    const next = { ...post, ...set };
    if (set.html !== undefined) next.html = spliced(post.html, set.html);
    if (set.thinking && post.thinking) {
      next.thinking = { ...set.thinking, text: spliced(post.thinking.text, set.thinking.text) };
    }
    return this.change(known, next);
  }

  putPrivate(post) {
    const known = this.articles.get(post.id);
    if (known) known.show(post);
    else this.append({ ...post, position: -1, whispered: true }, false);
  }

  append(post, whole) {
    const article = new Article(post, this);
    this.articles.set(post.id, article);
    this.place(article);
    byId("welcome").hidden = true;
    if (!whole) this.heard(article);
    if (post.kind !== "person") this.hideTyping();
    this.follow();
  }

  /** Keeps the channel's order, also when a reconnect brings older posts than those that wait here. */
  place(article) {
    const { position } = article.post;
    let before = null;
    for (let node = this.list.lastElementChild; node; node = node.previousElementSibling) {
      if (position < 0 || Number(node.dataset.position) <= position) break;
      before = node;
    }
    this.list.insertBefore(article.node, before);
  }

  change(article, post) {
    const grew = article.post.growing;
    article.show(post);
    if (grew && !post.growing) this.finished(article);
    this.follow();
  }

  finished(article) {
    announce(`${article.post.name}: ${article.spoken()}`);
    this.heard(article);
  }

  heard(article) {
    if (!document.hidden || article.post.author === this.state.person) return;
    if (article.post.growing) return;
    this.unread += 1;
    document.title = `(${this.unread}) Partyline`;
  }

  read() {
    if (document.hidden) return;
    this.unread = 0;
    document.title = "Partyline";
  }

  remove(id) {
    this.articles.get(id)?.node.remove();
    this.articles.delete(id);
  }

  /** Shows a message of one's own before the server has it. */
  addPending(clientId, text, pictures) {
    const post = {
      id: clientId, client_id: clientId, position: Infinity, revision: -1, kind: "person", author: this.state.person,
      name: this.state.name, text, created_at: Date.now() / 1000, actions: [], attachments: [], pictures, pending: true,
      status: "Sending…",
    };
    const article = new Article(post, this);
    this.pending.set(clientId, article);
    this.list.append(article.node);
    byId("welcome").hidden = true;
    this.jump();
  }

  /** The server's version of a pending message takes its place. */
  adopt(post) {
    const article = post.author === this.state.person && this.pending.get(post.client_id);
    if (!article) return undefined;
    this.pending.delete(post.client_id);
    this.articles.set(post.id, article);
    article.show(post);
    this.place(article);
    return article;
  }

  /** The server has the message. After a reload its post may have been there before the pending one. */
  settle(clientId) {
    this.pending.get(clientId)?.node.remove();
    this.pending.delete(clientId);
  }

  /** The server refused a message: its text stays, with the sentence and a way to edit it. */
  reject(clientId, sentence, composer) {
    const article = this.pending.get(clientId);
    if (!article) return false;
    article.refuse(sentence, () => {
      this.pending.delete(clientId);
      article.node.remove();
      composer.edit(clientId, article.post.text);
    });
    announce(sentence);
    this.follow();
    return true;
  }

  press(post, action, button) {
    button.disabled = true;
    this.link.send(`${action} ${post.id}`, { type: "action", action, message_id: post.id, client_id: newId() });
    setTimeout(() => (button.disabled = false), 2000);
    if (action !== "stop") this.following = true;
  }

  /** Stops the newest answer of one's own that grows; says whether there was one. */
  stopNewest() {
    const growing = [...this.articles.values()].filter(({ post }) => post.growing && post.asker === this.state.person);
    growing.at(-1)?.stop();
    return growing.length > 0;
  }

  showTyping() {
    this.list.classList.add("typing");
    clearTimeout(this.typingTimer);
    this.typingTimer = setTimeout(() => this.hideTyping(), TYPING_MS);
  }

  /** Brings the text of a long post, of which only the head was sent. */
  bring(post, button) {
    button.disabled = true;
    this.askWhole(post);
    setTimeout(() => (button.disabled = false), 5000);
  }

  askWhole(post) {
    this.asked.add(post.id);
    this.link.send(`whole ${post.id}`, { type: "whole", post: post.id });
  }

  hideTyping() {
    this.list.classList.remove("typing");
  }

  askerOf(post) {
    return this.askers.get(post.asker);
  }

  async clicked(event) {
    const button = event.target.closest("button.copy");
    if (!button) return;
    await copy(button.closest(".code").querySelector("code").textContent);
    button.textContent = "Copied";
    announce("The code was copied.");
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  scrolled() {
    const below = this.view.scrollHeight - this.view.clientHeight - this.view.scrollTop;
    // Only who goes up leaves the end; what grows below (a picture that arrives) takes nobody away from it.
    if (below < NEAR_PX) this.following = true;
    else if (this.view.scrollTop < this.top) this.following = false;
    this.top = this.view.scrollTop;
    byId("latest").hidden = this.following;
    this.askEarlier();
  }

  follow() {
    if (!byId("welcome").hidden) return;
    if (this.following) this.view.scrollTop = this.view.scrollHeight;
    else byId("latest").hidden = false;
  }

  jump() {
    this.following = true;
    this.follow();
  }
}

/** `[kept, rest]` keeps so much of what was there; anything else is all there is. */
const spliced = (before, now) => (Array.isArray(now) ? before.slice(0, now[0]) + now[1] : now);

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
