// The socket: reconnects by itself, and sends again what was not acknowledged.

const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 4000;
const QUIET_MS = 20_000; // after so long without a word it is asked whether the connection still works
const ANSWER_MS = 15_000; // what says nothing for so long is dead; a long post over a slow line takes a while

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
    setInterval(() => this.quiet(), QUIET_MS);
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws?deltas&batches`);
    this.socket = socket;
    socket.addEventListener("message", (event) => socket === this.socket && this.take(JSON.parse(event.data)));
    socket.addEventListener("close", () => socket === this.socket && this.lost());
  }

  take(message) {
    if (message.type === "batch") {
      for (const each of message.messages) this.take(each);
      return;
    }
    this.heard = true;
    this.settleDoubt();
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
    this.settleDoubt();
    this.connected(false);
    this.timer = setTimeout(() => this.open(), this.delay * (0.7 + 0.6 * Math.random()));
    this.delay = Math.min(this.delay * 1.7, LONGEST_DELAY_MS);
  }

  /** What is shown here is not what the server believes: everything anew. */
  renew() {
    this.socket.close(4000, "begin again");
  }

  /** Tries at once when there is reason to believe that it works now, and doubts what may have died in a sleep. */
  hurry() {
    if (!this.socket || this.socket.readyState === WebSocket.CLOSED) this.open();
    else this.doubt();
  }

  quiet() {
    if (!this.heard) this.doubt();
    this.heard = false;
  }

  /** After a sleep, or in another network, a browser may take a connection for open for minutes that is none. */
  doubt() {
    if (!this.ready || this.doubting) return;
    this.write({ type: "ping" });
    this.doubting = setTimeout(() => this.abandon(), ANSWER_MS);
  }

  settleDoubt() {
    clearTimeout(this.doubting);
    this.doubting = undefined;
  }

  /** Its end is not waited for, which may not come either. */
  abandon() {
    const dead = this.socket;
    this.socket = undefined;
    dead.close(4000, "silent");
    this.lost();
  }

  /** Sends until the server has accepted or rejected it; the server acts once on a client_id. */
  sendSurely(message) {
    this.unsettled.set(message.client_id, message);
    if (!this.ready) return;
    this.write(message);
    this.doubt();
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
