// Private windows and full disks refuse localStorage; the app then lasts as long as the page.
const memory = new Map();

/** Read a saved value, or `fallback` if there is none that can be read. */
export function load(name, fallback) {
  const key = `fieldnotes.${name}`;
  try {
    const text = memory.get(key) ?? localStorage.getItem(key);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

export function save(name, value) {
  const key = `fieldnotes.${name}`;
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(key, text);
    memory.delete(key);
  } catch {
    memory.set(key, text);
  }
}
