// The lane of this tab's outbox: an id that survives a reload and belongs to one tab at a time.

const NAME = "heaters.lane";
const RELOAD_MS = 4000; // how long the page before a reload may still hold the lock; what it still holds then is taken over later

function freshId() {
  return [...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const lockName = (reviewer, lane) => `heaters.outbox/${reviewer}/${lane}`;

/** Hold the lock of `lane` until `release` is aborted. Promise of whether it was free (within `waitMs`). Without Web Locks: always true. */
function held(reviewer, lane, release, waitMs) {
  const { locks } = globalThis.navigator ?? {};
  if (!locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const options = waitMs ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
    const hold = (lock) => {
      resolve(Boolean(lock));
      if (!lock || release.aborted) return undefined;
      return new Promise((done) => release.addEventListener("abort", done, { once: true }));
    };
    locks.request(lockName(reviewer, lane), options, hold).catch(() => resolve(false));
  });
}

/** Promise of this tab's lane. A duplicated tab brings a copy of the id along; the lock tells, and it gets one of its own. */
export async function claimedLane({ reviewer, release, storage = globalThis.sessionStorage }) {
  let lane = null;
  try {
    lane = storage.getItem(NAME);
  } catch {
    // storage is switched off: a lane for this page alone
  }
  if (!lane || !(await held(reviewer, lane, release, RELOAD_MS))) {
    lane = freshId();
    await held(reviewer, lane, release, 0);
  }
  try {
    storage.setItem(NAME, lane);
  } catch {
    // as above
  }
  return lane;
}

/** Promise of whether the lane of a closed tab could be taken over; a lane that is in use cannot. */
export function takenOver({ reviewer, lane, release }) {
  return held(reviewer, lane, release, 0);
}
