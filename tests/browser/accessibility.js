// Runs in the page that is checked, and returns what is wrong with it, one sentence each.
() => {
  const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [contenteditable=true], " +
    "[role=button], [role=link], [role=slider], [role=checkbox], [role=switch], [role=tab], [role=option], [role=menuitem]";
  const ROLES = new Set(("alert alertdialog application article banner button checkbox complementary contentinfo " +
    "dialog feed figure form grid gridcell group heading img link list listbox listitem log main menu menuitem " +
    "meter navigation none note option presentation progressbar radio radiogroup region row rowgroup rowheader " +
    "search separator slider spinbutton status switch tab table tablist tabpanel term textbox timer toolbar " +
    "tooltip tree treeitem columnheader cell definition").split(" "));
  const REFERENCES = ["aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "aria-details",
    "aria-errormessage", "aria-activedescendant", "for", "list", "form", "headers"];
  const faults = [];
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const describe = (element) => {
    const id = element.id ? `#${element.id}` : [...element.classList].map((name) => `.${name}`).join("");
    return `<${element.localName}${id}> "${(element.textContent ?? "").trim().replace(/\s+/g, " ").slice(0, 40)}"`;
  };
  const fault = (element, words) => faults.push(`${words}: ${describe(element)}`);
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
  const isForEyes = (element) => {
    if (!isShown(element)) return false;
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.clipPath === "inset(50%)" || Number(style.opacity) === 0) return false;
    }
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && box.right + scrollX > 0 && box.bottom + scrollY > 0;
  };

  // Names
  const textOf = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.nodeType !== Node.ELEMENT_NODE || node.getAttribute("aria-hidden") === "true" || node.hidden) return "";
    if (node.getAttribute("aria-label")) return node.getAttribute("aria-label");
    if (node.localName === "img") return node.alt;
    if (node.localName === "title") return node.textContent;
    return [...node.childNodes].map(textOf).join(" ");
  };
  const nameOf = (element) => {
    const named = (element.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean);
    const parts = [
      named.map((id) => document.getElementById(id)).filter(Boolean).map((other) => other.textContent).join(" "),
      element.getAttribute("aria-label"),
      element.labels ? [...element.labels].map(textOf).join(" ") : "",
      element.matches("input[type=submit], input[type=button], input[type=reset]") ? element.value : "",
      element.matches("input[type=image]") ? element.alt : "",
      element.matches("fieldset") ? element.querySelector(":scope > legend")?.textContent : "",
      element.matches("table") ? element.querySelector(":scope > caption")?.textContent : "",
      element.matches("input, select, textarea, progress, meter, fieldset, table, section, form, nav, [role=dialog], dialog, [role=group], [role=radiogroup]") ? "" : textOf(element),
      element.getAttribute("title"),
    ];
    return parts.find((part) => part?.trim())?.trim() ?? "";
  };

  // The document
  if (!document.documentElement.lang) faults.push("the document names no language");
  if (!document.title.trim()) faults.push("the document has no title");
  const viewport = document.querySelector("meta[name=viewport]")?.content ?? "";
  if (/user-scalable\s*=\s*(no|0)|maximum-scale/.test(viewport)) faults.push("the viewport forbids to zoom");
  const seen = new Set();
  for (const element of all("[id]")) {
    if (seen.has(element.id)) fault(element, "the id is there twice");
    seen.add(element.id);
  }
  for (const name of REFERENCES) {
    for (const element of all(`[${name}]`)) {
      for (const id of element.getAttribute(name).split(/\s+/).filter(Boolean)) {
        if (!document.getElementById(id)) fault(element, `${name} points to #${id}, which is not there`);
      }
    }
  }
  for (const element of all('a[href^="#"]')) {
    const id = decodeURIComponent(element.getAttribute("href").slice(1));
    if (id && !document.getElementById(id)) fault(element, `the link leads to #${id}, which is not there`);
  }

  // Landmarks and headings
  if (all("main, [role=main]").filter(isShown).length !== 1) faults.push("there is not exactly one main");
  for (const kind of ["nav, [role=navigation]", "aside, [role=complementary]", "[role=region]", "search, [role=search]"]) {
    const shown = all(kind).filter(isShown);
    const names = shown.map(nameOf);
    if (shown.length > 1 && new Set(names).size < names.length) fault(shown[1], "two landmarks of a kind have the same name");
  }
  for (const element of document.body.children) {
    const fits = element.matches("header, main, footer, nav, aside, script, template, dialog, a[href^='#'], [role=status], [role=alert], [aria-live]");
    if (!fits && isForEyes(element) && element.textContent.trim()) fault(element, "it lies outside of all landmarks");
  }
  const headings = all("h1, h2, h3, h4, h5, h6").filter(isShown);
  if (headings.filter((heading) => heading.localName === "h1").length !== 1) faults.push("there is not exactly one h1");
  let level = 0;
  for (const heading of headings) {
    const now = Number(heading.localName[1]);
    if (now > level + 1) fault(heading, `a heading of level ${now} follows one of level ${level}`);
    if (!textOf(heading).trim()) fault(heading, "a heading is empty");
    level = now;
  }

  // Roles, names, structure
  for (const element of all("[role]")) {
    for (const role of element.getAttribute("role").split(/\s+/)) if (!ROLES.has(role)) fault(element, `there is no role ${role}`);
  }
  for (const element of all("[role=slider], [role=spinbutton]")) {
    for (const name of ["aria-valuenow", "aria-valuemin", "aria-valuemax"]) if (!element.hasAttribute(name)) fault(element, `${name} is missing`);
  }
  for (const element of all("[role=checkbox], [role=switch]")) if (!element.hasAttribute("aria-checked")) fault(element, "aria-checked is missing");
  for (const element of all("[role=tab]")) if (!element.hasAttribute("aria-selected")) fault(element, "aria-selected is missing");
  for (const element of all("img")) if (!element.hasAttribute("alt")) fault(element, `a picture has no alt (${element.getAttribute("src")})`);
  for (const element of all("svg, canvas, [role=img]")) {
    const isHidden = element.closest("[aria-hidden=true]") || element.closest("svg") !== element && element.closest("svg");
    if (isShown(element) && !isHidden && !nameOf(element)) fault(element, "a drawing is neither hidden from screen readers nor named");
  }
  for (const element of all("iframe, progress, meter, [role=progressbar], fieldset, dialog[open], [role=dialog], [role=radiogroup]")) {
    if (isShown(element) && !nameOf(element) && !element.title) fault(element, `a ${element.localName} has no name`);
  }
  for (const element of all("ul > :not(li, script, template), ol > :not(li, script, template)")) fault(element, "a list holds what is no item");
  for (const element of all("li")) if (!element.closest("ul, ol, menu, [role=list]")) fault(element, "an item is in no list");
  for (const element of all("dl > :not(dt, dd, div, script, template)")) fault(element, "a dl holds what is neither term nor description");
  for (const element of all("table")) if (isShown(element) && !element.querySelector("th") && !element.matches("[role=presentation]")) fault(element, "a table has no header cells");
  for (const element of all("th")) if (isShown(element) && !textOf(element).trim() && !element.getAttribute("aria-label")) fault(element, "a header cell is empty");
  for (const element of all("[aria-hidden=true]")) {
    if (element.matches(CONTROLS) || all(CONTROLS, element).some((inner) => inner.tabIndex >= 0 && isShown(inner))) fault(element, "what is hidden from screen readers can be focused");
  }
  for (const element of all("[tabindex]")) if (element.tabIndex > 0) fault(element, `tabindex is ${element.tabIndex}`);

  // Controls
  const targets = all(CONTROLS).filter((element) => isForEyes(element) && !element.disabled);
  const middleOf = (element) => {
    const box = element.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  // A small target is no harm where 24 px around its middle belong to it alone.
  const isAlone = (element) => {
    const [x, y] = middleOf(element);
    return targets.every((other) => {
      if (other === element) return true;
      const box = other.getBoundingClientRect();
      const nearest = [Math.max(box.left, Math.min(x, box.right)), Math.max(box.top, Math.min(y, box.bottom))];
      const [otherX, otherY] = middleOf(other);
      return Math.hypot(nearest[0] - x, nearest[1] - y) >= 12 && Math.hypot(otherX - x, otherY - y) >= 23.5;
    });
  };
  for (const element of all(CONTROLS)) {
    if (!isShown(element)) continue;
    if (!nameOf(element)) fault(element, "a control has no name");
    if (element.parentElement.closest("a[href], button, summary")) fault(element, "a control lies inside of another");
    if (!isForEyes(element) || element.disabled) continue;
    const boxes = [element, ...(element.labels ?? [])].map((part) => part.getBoundingClientRect());
    const reaches = boxes.some((box) => box.width >= 23.5 && box.height >= 23.5);
    const style = getComputedStyle(element);
    const isInText = style.display === "inline" && [...element.parentElement.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!reaches && !isInText && !isAlone(element)) fault(element, `a control is ${Math.round(boxes[0].width)} × ${Math.round(boxes[0].height)} px; at least 24 × 24`);
  }

  // Contrast
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const colour = (text) => {
    if (!known.has(text)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
      known.set(text, [red, green, blue, alpha / 255]);
    }
    return known.get(text);
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null; // a picture: nothing can be said
      const layer = colour(style.backgroundColor);
      if (layer[3] > 0) layers.push(layer);
      if (layer[3] === 1) break;
    }
    const scheme = getComputedStyle(document.documentElement).colorScheme;
    const isDark = scheme === "dark" || (scheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches);
    const base = isDark ? [18, 18, 18, 1] : [255, 255, 255, 1];
    return layers.reduceRight((below, layer) => over(layer, below), base);
  };
  const brightness = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [brightness(one), brightness(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const fade = (element) => {
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    return opacity;
  };
  const judge = (element, style, words) => {
    const below = ground(element);
    if (!below) return;
    const [r, g, b, a] = colour(style.color);
    const ratio = contrast(over([r, g, b, a * fade(element)], below), below);
    const size = Number.parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (ratio < least - 0.005) fault(element, `${words} has a contrast of ${ratio.toFixed(2)}; at least ${least}`);
  };
  const told = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (told.has(element) || !walker.currentNode.data.trim() || element.matches("script, style, template, option")) continue;
    told.add(element);
    if (!isForEyes(element) || element.closest(":disabled, [aria-disabled=true]")) continue;
    if (element instanceof SVGElement) judge(element, { ...getComputedStyle(element), color: getComputedStyle(element).fill, fontSize: getComputedStyle(element).fontSize, fontWeight: getComputedStyle(element).fontWeight }, "a text");
    else judge(element, getComputedStyle(element), "a text");
  }
  for (const element of all("input:not([type=hidden], [type=checkbox], [type=radio], [type=range], [type=file], [type=image]), select, textarea")) {
    if (!isForEyes(element) || element.disabled) continue;
    judge(element, getComputedStyle(element), "a field's text");
    if (element.placeholder && !element.value) judge(element, getComputedStyle(element, "::placeholder"), "a placeholder");
    const style = getComputedStyle(element), around = ground(element.parentElement), inside = ground(element);
    if (!around || !inside || element.matches("[type=submit], [type=button], [type=reset]")) continue;
    const edge = Number.parseFloat(style.borderBottomWidth) > 0 ? over(colour(style.borderBottomColor), inside) : inside;
    const ratio = Math.max(contrast(edge, around), contrast(inside, around));
    if (ratio < 2.995) fault(element, `a field's edge has a contrast of ${ratio.toFixed(2)}; at least 3`);
  }
  return faults;
}
