import { announce, byId } from "./dom.js";

/** Take files and folders that are dropped or chosen, or pasted; `onFiles` gets {file, name}s. */
export function takeFiles(onFiles) {
  letChoose("chooser", ["add", "choose"], onFiles);
  letChoose("folder-chooser", ["add-folder"], onFiles);
  byId("add-folder").hidden = !("webkitdirectory" in byId("folder-chooser")); // as on phones
  document.addEventListener("paste", (event) => {
    const files = named(event.clipboardData.files);
    if (files.length) onFiles(files);
  });
  takeDrops(onFiles);
}

function letChoose(id, buttons, onFiles) {
  const chooser = byId(id);
  for (const button of buttons.map(byId)) {
    button.disabled = false;
    button.addEventListener("click", () => chooser.click());
  }
  chooser.addEventListener("change", () => {
    const files = named(chooser.files);
    chooser.value = ""; // so that the same file can be chosen again
    onFiles(files);
    if (!files.length) announce(EMPTY);
  });
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
    const dropped = named(files);
    if (!entries.some((entry) => entry.isDirectory)) {
      onFiles(dropped);
      return;
    }
    const failed = [];
    const found = (await Promise.all(entries.map((entry) => filesOf(entry, failed)))).flat();
    onFiles(found);
    if (failed.length) announce(`Could not be read: ${failed.join(", ")}`);
    else if (!found.length) announce(EMPTY);
  });
}

const EMPTY = "There are no files in this folder.";

/** Files with their names; those of a chosen folder have their path, and hidden ones are left out. */
const named = (files) => [...files]
  .map((file) => ({ file, name: file.webkitRelativePath || file.name }))
  .filter(({ name }) => !name.split("/").slice(1).some((part) => part.startsWith(".")));

/** All files at or below an entry, named by their path; what cannot be read goes into `failed`. */
async function filesOf(entry, failed) {
  const name = entry.fullPath.slice(1);
  try {
    if (entry.isFile) {
      return [{ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name }];
    }
    const visible = (await entriesOf(entry)).filter((each) => !each.name.startsWith("."));
    return (await Promise.all(visible.map((each) => filesOf(each, failed)))).flat();
  } catch {
    failed.push(name);
    return [];
  }
}

async function entriesOf(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) { // it hands out a hundred entries at a time
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return found;
    found.push(...batch);
  }
}
