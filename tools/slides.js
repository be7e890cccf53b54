// What does not fit on a slide goes on below it, under the same heading. Sizes are measured, not guessed.

const MAX_ENLARGED = 1.5, FIGURE_SHARE = 2 / 3; // of a figure's own size; of a slide's height
const isHeading = (block) => /^H[1-6]$/.test(block.tagName);
const blocksOf = (slide) => [...slide.children].filter((block) => !block.matches(".again, .notes"));

// As large as there is room for, but not so large that it blurs.
function enlarge(image, width, height) {
  const scale = Math.min(MAX_ENLARGED, (width - 60) / image.naturalWidth, (FIGURE_SHARE * height) / image.naturalHeight);
  if (image.naturalWidth) image.style.width = `${Math.round(scale * image.naturalWidth)}px`;
}

// The blocks of a fragment appear together, but may come to stand on two slides.
function unwrap(fragment, index) {
  const blocks = [...fragment.children];
  for (const block of blocks) {
    block.classList.add("fragment");
    block.dataset.fragmentIndex = index;
  }
  fragment.replaceWith(...blocks);
}

// A slide that does not begin with a heading says the one it belongs to; nothing waits for a key before anything is shown.
function open(slide) {
  const [first] = blocksOf(slide);
  if (!first) return;
  const together = blocksOf(slide).filter((block) => block.dataset.fragmentIndex === first.dataset.fragmentIndex);
  if (first.matches(".fragment")) together.forEach((block) => block.classList.remove("fragment"));
  if (isHeading(first) || !slide.dataset.heading) return;
  const again = Object.assign(document.createElement("p"), { className: "again", textContent: slide.dataset.heading });
  slide.prepend(again);
}

// Move the last blocks to a new slide until the others fit; a heading goes with what follows it.
function divide(slide, height) {
  const moved = [];
  const moveLast = () => moved.unshift(blocksOf(slide).at(-1)) && moved[0].remove();
  while (slide.scrollHeight > height && blocksOf(slide).length > 1) moveLast();
  while (moved.length && blocksOf(slide).length > 1 && isHeading(blocksOf(slide).at(-1))) moveLast();
  if (moved.length && blocksOf(slide).every(isHeading)) slide.append(moved.shift());
  if (!moved.length) return;
  const next = slide.cloneNode(false);
  const said = blocksOf(slide).filter(isHeading).at(-1);
  if (said) next.dataset.heading = said.firstChild.textContent;
  next.append(...moved, ...[...slide.querySelectorAll("aside.notes")].map((notes) => notes.cloneNode(true)));
  slide.after(next);
  open(next);
  divide(next, height);
}

async function showSlides(width, height) {
  const images = [...document.images];
  await Promise.allSettled(images.map((image) => image.decode()));
  images.forEach((image) => enlarge(image, width, height));
  const stage = document.querySelector(".slides");
  stage.classList.add("measured"); // all slides lie in the page with their real width
  stage.style.width = `${width}px`;
  for (const slide of [...stage.querySelectorAll("section > section")]) {
    slide.querySelectorAll(".fragment").forEach(unwrap);
    open(slide);
    divide(slide, height);
  }
  stage.classList.remove("measured");
  const look = { hash: true, slideNumber: "c/t", transition: "none", margin: 0.04, center: false };
  await Reveal.initialize({ ...look, width, height, plugins: [RevealNotes] });
}
