// Search over all pages: ENTRIES is a list of {page, lesson, heading, text}; every word must occur.
const box = document.getElementById("search"), hits = document.getElementById("hits"), said = document.getElementById("said");
function snippet(text, word) {
  const at = Math.max(0, text.toLowerCase().indexOf(word) - 60);
  return (at ? "… " : "") + text.slice(at, at + 180) + (at + 180 < text.length ? " …" : "");
}
function look() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = !words.length ? [] : ENTRIES.filter(entry => {
    const all = (entry.lesson + " " + entry.heading + " " + entry.text).toLowerCase();
    return words.every(word => all.includes(word));
  });
  const weight = entry => words.every(word => entry.heading.toLowerCase().includes(word)) ? 0 : 1;
  found.sort((a, b) => weight(a) - weight(b));
  said.textContent = words.length ? found.length + (found.length === 1 ? " section" : " sections") + " found" : "";
  hits.replaceChildren(...found.slice(0, 40).map(entry => {
    const item = document.createElement("li"), link = document.createElement("a"), text = document.createElement("div");
    link.href = entry.page;
    link.textContent = entry.lesson === entry.heading ? entry.lesson : entry.lesson + ": " + entry.heading;
    text.textContent = snippet(entry.text, words[0]);
    item.append(link, text);
    return item;
  }));
}
box.addEventListener("input", look);
look();
