// Pictures that are dropped or pasted anywhere on the page find their half.

/**
 * @param {import("./picture_well.js").PictureWell[]} wells Content first.
 * @param {HTMLElement} page Is marked while something is dragged over it.
 * @param {(names: string[]) => void} taken Is told which halves have a new picture.
 */
export function listenForPictures(wells, page, taken) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const wellAt = (event) => wells.find((well) => well.root.contains(event.target));

  const mark = (target) => {
    for (const well of wells) well.root.classList.toggle("is-target", well === target);
  };
  const rest = () => {
    depth = 0;
    page.classList.remove("is-dragging");
    mark(undefined);
  };

  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    page.classList.add("is-dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth -= 1;
    if (depth <= 0) rest();
  });
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // or the browser opens the picture in place of the page
    event.dataTransfer.dropEffect = "copy";
    mark(wellAt(event));
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const target = wellAt(event);
    rest();
    give([...event.dataTransfer.files], target);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return; // text, for a field
    event.preventDefault();
    give(files, wells.find((well) => well.root.contains(document.activeElement)));
  });

  function give(files, target) {
    const places = files.length > 1 ? wells : [target ?? wells.find((well) => !well.picture) ?? wells[0]];
    taken(places.filter((well, index) => files[index] && well.choose(files[index])).map((well) => well.part));
  }
}
