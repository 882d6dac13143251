// The pictures of the next message: by button, paste and drop; uploaded at once, shown until they are sent.

import { byId, element, icon } from "./dom.js";
import * as pictures from "./pictures.js";

export class Tray {
  /** `keep(ids)` is told which pictures wait, whenever that changes. */
  constructor(state, link, remark, keep) {
    this.state = state;
    this.link = link;
    this.remark = remark;
    this.keep = keep;
    this.pictures = [];
    const files = byId("files");
    byId("attach").addEventListener("click", () => files.click());
    files.addEventListener("change", () => {
      this.add(files.files);
      files.value = "";
    });
    byId("message").addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length || isFormatted(event.clipboardData)) return;
      event.preventDefault();
      this.add(event.clipboardData.files);
    });
    this.watchDrops();
  }

  get empty() {
    return this.pictures.length === 0;
  }

  watchDrops() {
    const veil = byId("drop");
    addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      veil.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) veil.hidden = true;
    });
    addEventListener("drop", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      veil.hidden = true;
      this.add(event.dataTransfer.files);
    });
  }

  add(files) {
    for (const file of files) {
      if (this.pictures.length >= this.state.limits.pictures) {
        this.remark(`At most ${this.state.limits.pictures} pictures fit into one message.`);
        break;
      }
      if (file.type && !file.type.startsWith("image/")) {
        // The server would refuse the whole message for it, and the pictures beside it.
        this.remark(`${file.name} isn't a picture.`);
        continue;
      }
      if (file.size > this.state.limits.picture_bytes) {
        this.remark(`${file.name} is larger than ${Math.floor(this.state.limits.picture_bytes / 1024 / 1024)} MB.`);
        continue;
      }
      this.addOne(file);
    }
    this.draw();
    byId("message").focus();
  }

  /** Brings back what waited before the page was reloaded. */
  async restore(ids) {
    for (const id of ids) {
      const picture = await pictures.resume(id);
      if (picture) this.show(picture);
    }
    this.draw();
  }

  addOne(file) {
    this.show(pictures.begin(file));
  }

  show(picture) {
    picture.uploaded.catch((error) => {
      if (!picture.dropped) this.remark(error.message);
      this.drop(picture);
    });
    this.pictures.push(picture);
  }

  drop(picture) {
    this.pictures = this.pictures.filter((each) => each !== picture);
    this.draw();
  }

  discard(picture) {
    this.drop(picture);
    picture.dropped = true;
    pictures.forget(picture.id);
    URL.revokeObjectURL(picture.url);
    picture.uploaded.then((id) => this.link.send(`drop ${id}`, { type: "drop", picture: id }), () => undefined);
    byId("message").focus();
  }

  /** Hands the pictures over to a message. */
  take() {
    const taken = this.pictures;
    this.pictures = [];
    this.draw();
    return taken;
  }

  draw() {
    const items = this.pictures.map((picture) => {
      const remove = element("button", { type: "button", "aria-label": `Remove ${picture.name}`, title: "Remove" }, [icon("close")]);
      remove.addEventListener("click", () => this.discard(picture));
      const image = element("img", { src: picture.url, alt: picture.name });
      image.addEventListener("error", () => image.replaceWith(element("span", { class: "file" }, [picture.name])));
      return element("li", {}, [image, remove]);
    });
    byId("tray").replaceChildren(...items);
    byId("tray").hidden = items.length === 0;
    this.keep(this.pictures.map((each) => each.id));
  }
}

/** Whether it is text of an office program, which puts a picture of it beside it. */
function isFormatted({ types }) {
  return types.includes("text/plain") && (types.includes("text/html") || types.includes("text/rtf"));
}
