// What axe-core does not look for. Runs in the page, and returns what is wrong with it, one sentence each.
() => {
  const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary";
  const FIELDS = "input:not([type=hidden], [type=checkbox], [type=radio], [type=range], [type=file], [type=submit], " +
    "[type=button], [type=reset], [type=image]), select, textarea";
  const REFERENCES = ["for", "list", "form", "headers", "aria-controls", "aria-owns", "aria-details"];
  const LEAST_TEXT = 4.5, LEAST_EDGE = 3;
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const describe = (element) => {
    const id = element.id ? `#${element.id}` : [...element.classList].map((name) => `.${name}`).join("");
    return `<${element.localName}${id}> "${(element.textContent ?? "").trim().replace(/\s+/g, " ").slice(0, 40)}"`;
  };
  const fault = (element, words) => faults.push(`${words}: ${describe(element)}`);
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true });

  // Names and places
  const seen = new Set();
  for (const element of all("[id]")) {
    if (seen.has(element.id)) fault(element, "the id is there twice");
    seen.add(element.id);
  }
  for (const name of REFERENCES) {
    for (const element of all(`[${name}]`)) {
      for (const id of element.getAttribute(name).split(/\s+/).filter(Boolean)) {
        if (!seen.has(id)) fault(element, `${name} points to #${id}, which is not there`);
      }
    }
  }
  for (const element of all('a[href^="#"]')) {
    const id = decodeURIComponent(element.getAttribute("href").slice(1));
    if (id && !seen.has(id)) fault(element, `the link leads to #${id}, which is not there`);
  }
  for (const element of all("fieldset, progress, meter, svg, canvas").filter(isShown)) {
    if (element.closest("[aria-hidden=true]") || element.parentElement.closest("svg")) continue;
    const inside = element.querySelector(":scope > legend, :scope > title")?.textContent.trim();
    const isNamed = ["aria-label", "aria-labelledby", "title"].some((name) => element.getAttribute(name)?.trim());
    if (!inside && !isNamed && !element.labels?.length) fault(element, `a ${element.localName} has no name`);
  }
  for (const element of all("table").filter(isShown)) {
    if (!element.querySelector("th")) fault(element, "a table has no header cells");
  }
  for (const element of all(CONTROLS).filter(isShown)) {
    if (element.parentElement.closest("a[href], button, summary")) fault(element, "a control lies inside of another");
  }

  // Contrast of placeholders, of texts in drawings, and of the edges by which fields are found
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null; // a picture: nothing can be said
      layers.push(colour(style.backgroundColor));
    }
    return layers.reduceRight((below, layer) => over(layer, below), colour("Canvas"));
  };
  const brightness = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [brightness(one), brightness(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const judge = (element, ratio, least, words) => {
    if (ratio < least - 0.005) fault(element, `${words} has a contrast of ${ratio.toFixed(2)}; at least ${least}`);
  };
  for (const element of all("svg text").filter(isShown)) {
    const below = ground(element);
    if (below) judge(element, contrast(over(colour(getComputedStyle(element).fill), below), below), LEAST_TEXT, "a text");
  }
  for (const element of all(FIELDS).filter((field) => isShown(field) && !field.disabled)) {
    const style = getComputedStyle(element), around = ground(element.parentElement), inside = ground(element);
    if (!around || !inside) continue;
    if (element.placeholder && !element.value) {
      const words = colour(getComputedStyle(element, "::placeholder").color);
      judge(element, contrast(over(words, inside), inside), LEAST_TEXT, "a placeholder");
    }
    const edge = Number.parseFloat(style.borderBottomWidth) > 0 ? over(colour(style.borderBottomColor), inside) : inside;
    judge(element, Math.max(contrast(edge, around), contrast(inside, around)), LEAST_EDGE, "a field's edge");
  }
  return faults;
}
