// Highlights the segment under the pointer: dims the rest of the image and shows the segment's names.
// Gradio replaces what lies inside `element`, so the listeners hang on `element` and look things up when they are needed.
const maps = new WeakMap();

function mapOf(figure) {
  if (maps.has(figure)) return maps.get(figure);
  const entry = { data: null, width: 0, height: 0, segments: JSON.parse(figure.dataset.segments), shown: -1 };
  maps.set(figure, entry);
  const ids = new Image();
  ids.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = entry.width = ids.naturalWidth;
    canvas.height = entry.height = ids.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(ids, 0, 0);
    entry.data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  ids.src = figure.dataset.ids;
  return entry;
}

const idAt = (data, place) => data[4 * place] + 256 * data[4 * place + 1] + 65536 * data[4 * place + 2];

function light(figure, map, id) {
  const canvas = figure.querySelector(".light");
  canvas.width = map.width;
  canvas.height = map.height;
  map.shown = id;
  if (!id) return;
  const context = canvas.getContext("2d");
  const shade = context.createImageData(map.width, map.height);
  for (let place = 0; place < map.width * map.height; place++) {
    if (idAt(map.data, place) !== id) {
      shade.data.set([10, 12, 20, 165], 4 * place);
    }
  }
  context.putImageData(shade, 0, 0);
}

function describe(tip, segment) {
  const line = (tag, text, parent, kind) => {
    const node = document.createElement(tag);
    node.textContent = text;
    if (kind) node.className = kind;
    parent.append(node);
    return node;
  };
  tip.replaceChildren();
  line("b", segment.name, tip);
  const share = (100 * segment.share).toFixed(1);
  line("small", `${segment.kind}, ${share}% of the image, predicted IoU ${segment.iou.toFixed(2)}`, tip);
  segment.top.forEach(([name, score], place) => {
    const row = line("div", "", tip, "row");
    const bar = line("span", name, row, "bar");
    bar.style.setProperty("--part", `${100 * score}%`);
    line("span", segment.cosines ? `cosine ${segment.cosines[place].toFixed(2)}` : score.toFixed(2), row);
  });
}

function leave(figure) {
  const map = mapOf(figure);
  figure.querySelector(".tip").hidden = true;
  if (map.data && map.shown) light(figure, map, 0);
}

element.addEventListener("mousemove", (event) => {
  const figure = event.target.closest(".figure");
  if (!figure) return;
  const map = mapOf(figure);
  if (!map.data) return;
  const box = figure.querySelector(".overlay").getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * map.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * map.height);
  const inside = x >= 0 && y >= 0 && x < map.width && y < map.height;
  const id = inside ? idAt(map.data, y * map.width + x) : 0;
  const tip = figure.querySelector(".tip");
  if (id !== map.shown) light(figure, map, id);
  tip.hidden = !id;
  if (!id) return;
  describe(tip, map.segments[id]);
  const left = event.clientX - box.left;
  const top = event.clientY - box.top;
  tip.style.left = `${left > box.width / 2 ? left - tip.offsetWidth - 14 : left + 14}px`;
  tip.style.top = `${Math.max(0, Math.min(top + 10, box.height - tip.offsetHeight))}px`;
});
element.addEventListener("mouseout", (event) => {
  const figure = event.target.closest(".figure");
  if (figure && !figure.contains(event.relatedTarget)) leave(figure);
});
element.addEventListener("mouseover", (event) => {
  const figure = event.target.closest(".figure");
  if (figure) mapOf(figure);
});
