/** Sends this phone's position while the page is open and sharing is on. Positions wait in the queue while there is no
 * network; they are sent in batches, with longer and longer pauses after failures. */
import { useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { sendPings } from "./api.js";
import { getIngestToken, read, write } from "./credentials.js";
import * as queue from "./position_queue.js";

const PERIOD_MS = 5000; // between two positions; the API accepts one a second
const FIX_TIMEOUT_MS = 15_000;
const BATCH = 500;
const FIRST_PAUSE_MS = 2000;
const LONGEST_PAUSE_MS = 60_000;
const ON = "connect.sharing"; // the id of the person who has sharing on

const DENIED = "This browser may not use your position. Allow it in the settings of this site, then turn sharing on again.";
const NO_FIX = "Your phone does not know where it is now. Sharing goes on when it does.";
const NO_TOKEN = "Your access has ended. Ask the organiser for a new code.";

export const isSharing = (id) => read(ON) === String(id);

/** Statuses after which sending the same positions again does not help. */
const isRefused = (error) => [400, 404, 413].includes(error.status);

let running; // the sender of this page

class Sender {
  /** `onChange(state)`: `{on, sentAt, accuracy, queued, problem}`. */
  constructor(id, onChange) {
    this.id = id;
    this.state = { on: false, queued: 0 };
    this.onChange = onChange;
    this.sending = false;
    this.failures = 0;
    this.round = 0; // of starts and stops: a position that arrives late belongs to an earlier one
    this.flush = this.flush.bind(this);
    this.keepAwake = this.keepAwake.bind(this);
  }

  set(changes) {
    this.state = { ...this.state, ...changes };
    this.onChange(this.state);
  }

  start() {
    running = this;
    write(ON, String(this.id));
    this.set({ on: true, problem: null });
    addEventListener("online", this.flush);
    document.addEventListener("visibilitychange", this.keepAwake);
    this.keepAwake();
    this.sample();
    this.flush();
  }

  /** Stops; with `forget` also when the page is opened again. */
  stop({ forget = true } = {}) {
    if (forget) write(ON, null);
    this.round += 1;
    clearTimeout(this.sampleTimer);
    clearTimeout(this.flushTimer);
    removeEventListener("online", this.flush);
    document.removeEventListener("visibilitychange", this.keepAwake);
    this.lock?.release();
    this.lock = null;
    this.set({ on: false });
  }

  /** A screen that turns off stops the page. */
  async keepAwake() {
    if (document.hidden) return;
    this.lock = await navigator.wakeLock?.request("screen").catch(() => null);
  }

  sample() {
    const round = this.round;
    const again = () => (this.sampleTimer = setTimeout(() => this.sample(), PERIOD_MS));
    navigator.geolocation.getCurrentPosition(
      async (position) => {
        if (round !== this.round) return;
        again();
        await this.take(position);
      },
      (failure) => {
        if (round !== this.round) return;
        if (failure.code === failure.PERMISSION_DENIED) {
          this.stop();
          this.set({ problem: DENIED });
        } else {
          again();
          this.set({ problem: NO_FIX });
        }
      },
      { enableHighAccuracy: true, maximumAge: PERIOD_MS - 1000, timeout: FIX_TIMEOUT_MS },
    );
  }

  async take({ coords, timestamp }) {
    const now = Date.now();
    // The position is at most PERIOD_MS old, because it was asked for so. Some browsers give the time when the phone
    // moved last instead.
    const time = now - PERIOD_MS < timestamp && timestamp <= now ? timestamp : now;
    const ping = {
      person_id: this.id,
      latitude: coords.latitude,
      longitude: coords.longitude,
      creation_time: new Date(time).toISOString(),
      ...(coords.accuracy > 0 ? { accuracy: Math.min(coords.accuracy, 100_000) } : {}),
    };
    try {
      await queue.add(this.id, ping);
    } catch {
      return this.sendUnqueued(ping);
    }
    this.set({ accuracy: coords.accuracy, queued: await queue.count(this.id), problem: this.failures ? this.state.problem : null });
    if (!this.failures) this.flush();
  }

  /** For a browser that stores nothing: a position that cannot be sent now is lost, and the page says so. */
  async sendUnqueued(ping) {
    try {
      const refused = await this.send([ping]);
      this.set({ accuracy: ping.accuracy, problem: refused, ...(refused ? {} : { sentAt: Date.now() }) });
    } catch {
      this.set({ problem: "This browser cannot keep positions, and Connect does not answer now: this position is lost." });
    }
  }

  /** Sends all queued positions, the oldest first. */
  async flush() {
    if (this.sending || !this.state.on) return;
    this.sending = true;
    clearTimeout(this.flushTimer);
    try {
      for (let batch; this.state.on && (batch = await queue.first(this.id, BATCH)).length; ) {
        const refused = await this.send(batch);
        await queue.remove(batch);
        this.failures = 0;
        this.set({ queued: await queue.count(this.id), problem: refused, ...(refused ? {} : { sentAt: Date.now() }) });
      }
    } catch (error) {
      this.pause(error);
    } finally {
      this.sending = false;
    }
  }

  /** The reason why positions were refused, if any were. Throws if they should be sent again. */
  async send(batch) {
    try {
      const { results = [] } = await sendPings(batch.length === 1 ? batch[0] : batch, getIngestToken());
      const refused = results.find((each) => each.errors);
      return refused ? `Some positions were refused. ${Object.values(refused.errors).flat()[0]}` : null;
    } catch (error) {
      if (!isRefused(error)) throw error;
      return `Positions were refused. ${error.message}`;
    }
  }

  pause(error) {
    if ([401, 403].includes(error.status)) {
      this.stop();
      this.set({ problem: NO_TOKEN });
      return;
    }
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures);
    this.failures += 1;
    this.flushTimer = setTimeout(this.flush, Math.max(pause, (error.retryAfter ?? 0) * 1000));
    const reason = error.status === 429 ? "Too many positions at once." : navigator.onLine ? "Connect does not answer." : "You are offline.";
    this.set({ problem: `${reason} Your positions are kept and sent later.` });
  }
}

/** The sharing of this phone's position as that of a person: its state, `start` and `stop`. */
export function useSharing(id) {
  const [state, setState] = useState({ on: false, queued: 0 });
  const sender = useRef(null);
  useEffect(() => {
    sender.current = new Sender(id, setState);
    queue.count(id).then((queued) => sender.current.set({ queued }), () => {});
    if (isSharing(id)) sender.current.start();
    return () => sender.current.stop({ forget: false });
  }, [id]);
  return { ...state, start: () => sender.current.start(), stop: () => sender.current.stop() };
}

/** Ends sharing in this browser for good: on sign-out and before a deletion. */
export function forgetSharing() {
  running?.stop();
  write(ON, null);
  queue.clear().catch(() => {}); // a browser without IndexedDB has no queue
}
