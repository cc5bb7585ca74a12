// The reader's choice of theme: the system's, light or dark. Runs before the first drawing.
"use strict";
(() => {
  const KEY = "atelier-theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const root = document.documentElement;

  const stored = () => {
    try {
      return localStorage.getItem(KEY) ?? "system";
    } catch {
      return "system"; // storage is forbidden here: the system's theme it is
    }
  };

  const apply = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };

  const name = (button, theme) => {
    button.textContent = { system: "Auto", light: "Light", dark: "Dark" }[theme] ?? "Auto";
    button.setAttribute("aria-label", `Theme: ${button.textContent}. Change`);
  };

  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-toggle]");
    if (!button) return;
    name(button, stored());
    button.hidden = false;
    button.addEventListener("click", () => {
      const theme = NEXT[stored()] ?? "system";
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // kept for this page only
      }
      apply(theme);
      name(button, theme);
    });
  });
})();
