// A photograph to paint on. Each stroke is sent when the pointer is lifted: its corners as shares of the sides.
const SIDE = 360; // pixels on the page

function draw(context, image, strokes) {
  context.clearRect(0, 0, SIDE, SIDE);
  if (image.complete && image.naturalWidth) context.drawImage(image, 0, 0, SIDE, SIDE);
  context.strokeStyle = "rgba(0, 0, 0, 0.6)";
  context.lineCap = context.lineJoin = "round";
  for (const { width, points } of strokes) {
    context.lineWidth = (width * SIDE) / 300;
    context.beginPath();
    points.forEach(([x, y], index) => context[index ? "lineTo" : "moveTo"](x * SIDE, y * SIDE));
    context.stroke();
  }
}

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", model.get("help"));
  canvas.title = model.get("help");
  canvas.style.cssText = `width:${SIDE}px;max-width:100%;cursor:crosshair;touch-action:none;border:1px solid #8a8a8a`;
  const context = canvas.getContext("2d");
  const image = new Image();
  let stroke = null;

  const refresh = () => draw(context, image, stroke ? [...model.get("strokes"), stroke] : model.get("strokes"));
  const load = () => { image.src = model.get("picture"); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (value) => Math.min(1, Math.max(0, value));
    return [share((event.clientX - box.left) / box.width), share((event.clientY - box.top) / box.height)];
  };
  const finish = () => {
    if (!stroke) return;
    const strokes = [...model.get("strokes"), stroke];
    stroke = null;
    model.set("strokes", strokes);
    model.save_changes();
    refresh();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    stroke = { width: model.get("width"), points: [place(event)] };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    stroke.points.push(place(event));
    refresh();
  });
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  image.addEventListener("load", refresh);
  model.on("change:picture", load);
  model.on("change:strokes", refresh);
  load();
  el.appendChild(canvas);
  return () => {
    model.off("change:picture", load);
    model.off("change:strokes", refresh);
  };
}

export default { render };
