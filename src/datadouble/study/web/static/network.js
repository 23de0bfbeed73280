// Requests that are sent again until the server answers, and images loaded ahead.

const base = location.pathname.replace(/\/$/, "");
const LONGEST_WAIT = 10; // seconds between two tries
const PATIENCE = 10; // seconds for one try

export class Gone extends Error {} // the link works no more
export class Refused extends Error {
  constructor(code, found) {
    super(found || code);
    this.code = code;
  }
}

let wake = null;
export const retryNow = () => wake && wake();
window.addEventListener("online", retryNow);

const sleep = (seconds) => new Promise((done) => {
  const timer = setTimeout(done, 1000 * seconds);
  wake = () => { clearTimeout(timer); done(); };
});

// Try until there is an answer; notice(seconds) is told of each wait, notice(null) when it is over.
async function persist(work, notice) {
  for (let wait = 0.5, failed = false; ; wait = Math.min(LONGEST_WAIT, 2 * wait), failed = true) {
    let response = null;
    try {
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), 1000 * PATIENCE);
      try {
        response = await work(stop.signal);
        if (response.ok) {
          const value = await read(response);
          if (failed) notice(null);
          return value;
        }
      } finally {
        clearTimeout(timer);
      }
    } catch {
      response = null; // no network, no server, or cut off in the middle of the answer
    }
    if (response && response.status < 500 && response.status !== 429) {
      if (failed) notice(null);
      if (response.status === 403 || response.status === 404) throw new Gone();
      const value = await response.json().catch(() => ({}));
      throw new Refused(value.error || "refused", value.found);
    }
    notice(wait, response ? "server" : "network");
    await sleep(wait);
  }
}

const read = (response) =>
  response.headers.get("content-type").startsWith("image/") ? response.blob() : response.json();

const request = (action, body, signal, keepalive = false) => fetch(`${base}/${action}`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
  keepalive,
});

export const ask = (action, body, notice) => persist((signal) => request(action, body, signal), notice);

// Sent once, even while the page is being left.
export const tell = (action, body) => request(action, body, undefined, true).catch(() => null);

const images = new Map();

export function load(name, notice) {
  if (!images.has(name)) {
    const work = persist((signal) => fetch(`${base}/image/${name}.png`, { signal }), notice)
      .then((blob) => createImageBitmap(blob, { colorSpaceConversion: "none" }));
    work.catch(() => images.delete(name));
    images.set(name, work);
  }
  return images.get(name);
}

export function keepOnly(names) {
  for (const name of images.keys()) if (!names.includes(name)) images.delete(name);
}
