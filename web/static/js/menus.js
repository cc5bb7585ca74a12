// Menus made of <details>: they close as menus do.

/** Close the menus below a node by Escape, and by a click anywhere else. */
export function closeMenus(root) {
  root.addEventListener("keydown", (event) => {
    const menu = event.target.closest(".menu[open]");
    if (!menu || event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => {
    for (const menu of root.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}
