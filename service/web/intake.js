import { byId } from "./dom.js";

/** Take files that are dropped, pasted or chosen, folders included, and hand them to `onFiles`. */
export function takeFiles(onFiles) {
  const chooser = byId("chooser");
  for (const id of ["add", "choose"]) {
    byId(id).disabled = false;
    byId(id).addEventListener("click", () => chooser.click());
  }
  chooser.addEventListener("change", () => {
    onFiles([...chooser.files]);
    chooser.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) onFiles(files);
  });
  takeDrops(onFiles);
}

function takeDrops(onFiles) {
  const veil = byId("drop");
  let depth = 0;
  const show = (change) => {
    depth = Math.max(0, depth + change);
    veil.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => {
    if (event.dataTransfer.types.includes("Files")) show(1);
  });
  document.addEventListener("dragleave", () => show(-1));
  document.addEventListener("drop", async (event) => {
    show(-depth);
    const { items, files } = event.dataTransfer;
    // The list is empty after the first await, so the entries are taken at once.
    const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const dropped = [...files];
    const hasFolder = entries.some((entry) => entry.isDirectory);
    onFiles(hasFolder ? (await Promise.all(entries.map(filesOf))).flat() : dropped);
  });
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader hands out a hundred entries at a time
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return found;
    const visible = batch.filter((each) => !each.name.startsWith("."));
    found.push(...(await Promise.all(visible.map(filesOf))).flat());
  }
}
