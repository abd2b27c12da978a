// Where decisions without an answer are stored: the browser's own storage, or a stand-in for it.

/** A stand-in for a storage that is switched off: decisions live as long as the page. */
export class MemoryStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  key(n) {
    return [...this.#items.keys()][n] ?? null;
  }

  getItem(name) {
    return this.#items.get(name) ?? null;
  }

  setItem(name, value) {
    this.#items.set(name, String(value));
  }

  removeItem(name) {
    this.#items.delete(name);
  }
}

/** localStorage; a MemoryStorage where the browser has it switched off. */
export function browserStorage() {
  try {
    const { localStorage } = window;
    localStorage.getItem("heaters");
    return localStorage;
  } catch {
    return new MemoryStorage();
  }
}
