// What the page remembers in this browser: recent addresses and the theme. Storage may be turned off: then nothing.

const ADDRESSES = "everwire.addresses", THEME = "everwire.theme";
const MAX_ADDRESSES = 12;

/** The addresses that were connected to, the latest first. */
export function recent() {
  try {
    const found = JSON.parse(localStorage.getItem(ADDRESSES) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each === "string").slice(0, MAX_ADDRESSES) : [];
  } catch {
    return [];
  }
}

/** Remember an address, without what may be secret in it: the user's name and password, the query. */
export function remember(address) {
  const url = new URL(address);
  const plain = `${url.protocol}//${url.host}${url.pathname}`;
  put(ADDRESSES, JSON.stringify([plain, ...recent().filter((each) => each !== plain)].slice(0, MAX_ADDRESSES)));
}

export function forget() {
  put(ADDRESSES, "[]");
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const button = document.getElementById("theme");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const showTheme = () => (button.ariaPressed = String(isDark()));

/** The other theme than the one that is shown, from now on. */
export function toggleTheme() {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  put(THEME, chosen);
  showTheme();
}

dark.addEventListener("change", showTheme);
showTheme();

function put(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is full or turned off: the page works all the same.
  }
}
