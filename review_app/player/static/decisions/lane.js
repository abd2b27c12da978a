// The lane of this tab's outbox: an id that belongs to one page at a time. With Web Locks it survives a reload.
//
// Browsers have Web Locks on https and localhost only. Elsewhere every page load gets a lane of its own and says that it lives by a time in
// localStorage; what an earlier page left is taken over like that of a closed tab.

const NAME = "heaters.lane";
const RELOAD_MS = 4000; // how long the page before a reload may still hold the lock; what it still holds then is taken over later
const BEAT_MS = 5000;
const SILENT_MS = 90_000; // a tab out of sight may be let run once a minute only

export function randomId(bytes = 9) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const lockName = (kind, reviewer, lane) => `heaters.${kind}/${reviewer}/${lane}`;
const beatName = (reviewer, lane) => `${NAME}/${reviewer}/${lane}`;

/** "sessionStorage" or "localStorage"; null where storage is switched off. */
function storageNamed(name) {
  try {
    return globalThis[name] ?? null;
  } catch {
    return null;
  }
}

/** Hold the lane until `release` is aborted. Promise of whether it was free (within `waitMs`). */
function held({ kind, reviewer, lane, release, waitMs = 0, shared }) {
  const { locks } = globalThis.navigator ?? {};
  if (!locks) return Promise.resolve(heldByTime(beatName(reviewer, lane), release, shared));
  return new Promise((resolve) => {
    const options = waitMs ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
    const hold = (lock) => {
      resolve(Boolean(lock));
      if (!lock || release.aborted) return undefined;
      return new Promise((done) => release.addEventListener("abort", done, { once: true }));
    };
    locks.request(lockName(kind, reviewer, lane), options, hold).catch(() => resolve(false));
  });
}

function heldByTime(name, release, shared) {
  if (lives(shared?.getItem(name)) || release.aborted) return false;
  const beat = () => {
    try {
      shared?.setItem(name, String(Date.now()));
    } catch {
      // full: then nothing of this lane is in it either that could be taken over
    }
  };
  const stop = () => shared?.removeItem(name);
  const timer = setInterval(beat, BEAT_MS);
  globalThis.addEventListener("pagehide", stop, { signal: release });
  globalThis.addEventListener("pageshow", beat, { signal: release });
  release.addEventListener("abort", () => {
    clearInterval(timer);
    stop();
  });
  beat();
  return true;
}

const lives = (beat) => Date.now() - Number(beat ?? 0) < SILENT_MS;

/** A page that crashed has not cleared its time away. */
function forgetTheDead(shared) {
  const names = Array.from({ length: shared?.length ?? 0 }, (_, n) => shared.key(n));
  for (const name of names) if (name?.startsWith(`${NAME}/`) && !lives(shared.getItem(name))) shared.removeItem(name);
}

/** Promise of this tab's lane, for pages of that kind. A duplicated tab brings a copy of the id along; the lock tells, and it gets one of its own. */
export async function claimedLane({ kind = "outbox", reviewer, release, storage = storageNamed("sessionStorage"), shared = storageNamed("localStorage") }) {
  forgetTheDead(shared);
  const kept = globalThis.navigator?.locks ? (storage?.getItem(NAME) ?? null) : null;
  if (kept && (await held({ kind, reviewer, lane: kept, release, waitMs: RELOAD_MS, shared }))) return kept;
  const lane = randomId();
  await held({ kind, reviewer, lane, release, shared });
  try {
    storage?.setItem(NAME, lane);
  } catch {
    // full: a lane for this page alone
  }
  return lane;
}

/** Promise of whether the lane of a closed tab could be taken over; a lane that is in use cannot. */
export function takenOver({ kind = "outbox", reviewer, lane, release, shared = storageNamed("localStorage") }) {
  return held({ kind, reviewer, lane, release, shared });
}
