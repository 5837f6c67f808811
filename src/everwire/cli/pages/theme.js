"use strict";
// Runs before anything is drawn, so that a page in the theme that was chosen never shows the other one first.
try {
  const chosen = localStorage.getItem("everwire.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is turned off: the theme is that of the system.
}
