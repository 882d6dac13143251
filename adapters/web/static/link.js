// The socket: reconnects by itself, and sends again what was not acknowledged.

const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 4000;

export class Link {
  /** `receive(message)` gets every message of the server; `connected(yes)` is told how the connection fares. */
  constructor(receive, connected) {
    this.receive = receive;
    this.connected = connected;
    this.delay = FIRST_DELAY_MS;
    this.unsettled = new Map();
    this.waiting = new Map();
    this.ready = false;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/ws?deltas&batches`);
    this.socket.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => this.lost());
  }

  take(message) {
    if (message.type === "batch") {
      for (const each of message.messages) this.take(each);
      return;
    }
    this.receive(message);
    if (message.type === "hello") this.begin();
  }

  begin() {
    this.ready = true;
    this.delay = FIRST_DELAY_MS;
    this.connected(true);
    for (const message of [...this.waiting.values(), ...this.unsettled.values()]) this.write(message);
    this.waiting.clear();
  }

  lost() {
    this.ready = false;
    this.connected(false);
    this.timer = setTimeout(() => this.open(), this.delay * (0.7 + 0.6 * Math.random()));
    this.delay = Math.min(this.delay * 1.7, LONGEST_DELAY_MS);
  }

  /** What is shown here is not what the server believes: everything anew. */
  renew() {
    this.socket.close(4000, "begin again");
  }

  /** Tries at once when there is reason to believe that it works now. */
  hurry() {
    if (this.socket?.readyState === WebSocket.CLOSED) this.open();
  }

  /** Sends until the server has accepted or rejected it; the server acts once on a client_id. */
  sendSurely(message) {
    this.unsettled.set(message.client_id, message);
    if (this.ready) this.write(message);
  }

  settle(clientId) {
    this.unsettled.delete(clientId);
  }

  /** Sends now or, of each `key` the newest, after the connection has come back. */
  send(key, message) {
    if (this.ready) this.write(message);
    else this.waiting.set(key, message);
  }

  write(message) {
    this.socket.send(JSON.stringify(message));
  }
}
