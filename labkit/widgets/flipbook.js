// Draws a book of frames (flipbook.py) and steps through it. What every picture drawn by hand owes its reader:
// - native buttons and inputs, arrow keys on the picture, a visible focus;
// - role="img" with a name that follows the sentence, the sentence as text, a letter or pattern beside each colour;
// - JupyterLab's CSS variables, so that it also reads on a dark theme; no motion for those who asked for none;
// - no innerHTML (texts come from notebooks), nothing from the network.

const SVG = "http://www.w3.org/2000/svg";
const PLAY_MS = 900;

function node(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// The same rule as text_size in flipbook.py: 0 where a text would be too small to read.
function textSize(cell, text) {
  const size = Math.min(cell.size, 0.62 * cell.height, (1.5 * (cell.width - 2)) / Math.max(text.length, 1));
  return size >= 7 ? size : 0;
}

class Page {
  constructor(book, svg, hatch) {
    this.book = book;
    this.lit = [];
    this.cells = book.cells.map((cell) => this.draw(cell, hatch));
    svg.append(...this.cells.map((drawn) => drawn.group));
    for (const label of book.labels) {
      const look = `font-size: ${label.size}px; font-weight: ${label.bold ? "bold" : "normal"}`;
      svg.append(shape("text", { x: label.x, y: label.y, "text-anchor": label.anchor, style: look }, label.text));
    }
  }

  draw(cell, hatch) {
    const { x, y, width, height } = cell;
    const group = shape("g", { class: "labkit-cell" });
    const rect = shape("rect", { x, y, width, height, class: "labkit-fill" });
    const pattern = cell.hatched ? [shape("rect", { x, y, width, height, fill: `url(#${hatch})`, class: "labkit-hatched" })] : [];
    const text = shape("text", { x: x + width / 2, y: y + height / 2, "text-anchor": "middle" });
    const mark = shape("text", { x: x + 2, y: y + 5.5, class: "labkit-mark" });
    group.append(rect, ...pattern, text, mark);
    const drawn = { cell, group, rect, text, mark };
    this.light(drawn, [cell.quantity, null, null], false);
    return drawn;
  }

  light({ cell, group, rect, text, mark }, [quantity, newMark, newText], on) {
    const [fill, ink] = this.book.colors[quantity];
    group.classList.toggle("labkit-lit", on);
    rect.style.fill = fill;
    group.style.setProperty("--labkit-ink", on ? ink : "inherit");
    mark.textContent = newMark ?? cell.mark;
    text.textContent = newText ?? cell.text;
    text.style.fontSize = `${textSize(cell, text.textContent)}px`;
    text.setAttribute("y", cell.y + cell.height * (mark.textContent && cell.height >= 20 ? 0.62 : 0.52));
  }

  show(frame) {
    for (const drawn of this.lit) this.light(drawn, [drawn.cell.quantity, null, null], false);
    this.lit = Object.entries(frame.lit).map(([at, how]) => {
      this.light(this.cells[at], how, true);
      return this.cells[at];
    });
  }
}

function render({ model, el }) {
  const hatch = `labkit-hatch-${Math.random().toString(36).slice(2)}`;
  const back = node("button", { type: "button" }, ["◀ Back"]);
  const next = node("button", { type: "button" }, ["Next ▶"]);
  const play = node("button", { type: "button", "aria-pressed": "false" }, ["Play"]);
  const number = node("input", { type: "number" });
  const stepName = node("span");
  const total = node("span");
  const svg = shape("svg", { role: "img", tabindex: "0" });
  const said = node("p", { class: "labkit-said", role: "status" });
  const problem = node("pre", { class: "labkit-problem", role: "alert", hidden: "" });
  const tools = node("div", { class: "labkit-tools" }, [
    node("label", {}, [stepName, number, total]), back, next, play,
  ]);
  // Or JupyterLab takes the arrow keys as "go to another cell".
  const root = node("div", { class: "labkit-flipbook", "data-lm-suppress-shortcuts": "true" }, [tools, svg, said, problem]);
  el.append(root);

  let page = null;
  let timer = null;
  const last = () => model.get("page").frames.length - 1;

  function open(book) {
    svg.setAttribute("viewBox", `-4 -4 ${book.width + 8} ${book.height + 8}`);
    svg.style.width = `${book.width + 8}px`;
    const pattern = shape("pattern", { id: hatch, width: 5, height: 5, patternUnits: "userSpaceOnUse" });
    pattern.append(shape("path", { d: "M-1,1 l2,-2 M0,5 l5,-5 M4,6 l2,-2", class: "labkit-hatch" }));
    svg.replaceChildren(pattern);
    page = new Page(book, svg, hatch);
    root.setAttribute("aria-label", book.title);
    stepName.textContent = `${book.step} `;
    number.min = book.count_from;
    number.max = book.count_from + last();
    total.textContent = ` of ${number.max}`;
  }

  // A new book and its first frame come in one message, but as two events in any order: each brings everything up to date.
  function show() {
    if (page?.book !== model.get("page")) open(model.get("page"));
    const at = Math.min(model.get("frame"), last());
    const frame = page.book.frames[at];
    page.show(frame);
    number.value = page.book.count_from + at;
    back.disabled = at === 0;
    next.disabled = at === last();
    said.textContent = frame.sentence;
    svg.setAttribute("aria-label", `${page.book.title}. ${frame.sentence}`);
  }

  function go(at) {
    model.set("frame", Math.max(0, Math.min(last(), at)));
    model.save_changes();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
    said.setAttribute("aria-live", "polite");
  }

  function start() {
    if (model.get("frame") === last()) go(0);
    timer = setInterval(() => (model.get("frame") < last() ? go(model.get("frame") + 1) : pause()), PLAY_MS);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    said.setAttribute("aria-live", "off"); // a reader need not hear every step of a film
  }

  function complain() {
    problem.textContent = model.get("problem");
    problem.hidden = !problem.textContent;
    svg.style.display = said.style.display = problem.textContent ? "none" : "";
  }

  const step = (by) => () => { pause(); go(model.get("frame") + by()); };
  const keys = {
    ArrowRight: step(() => 1),
    ArrowLeft: step(() => -1),
    ArrowDown: step(() => page.book.row),
    ArrowUp: step(() => -page.book.row),
    Home: step(() => -model.get("frame")),
    End: step(() => last()),
  };
  svg.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault(); // or the page scrolls
    keys[event.key]();
  });
  back.addEventListener("click", keys.ArrowLeft);
  next.addEventListener("click", keys.ArrowRight);
  play.addEventListener("click", () => (timer ? pause() : start()));
  const jump = () => { pause(); go(Math.round(Number(number.value)) - page.book.count_from); show(); };
  number.addEventListener("change", jump);
  number.addEventListener("keydown", (event) => event.key === "Enter" && jump()); // may come without a change

  model.on("change:page", show);
  model.on("change:frame", show);
  model.on("change:problem", complain);
  pause();
  show();
  complain();
  return () => {
    pause();
    model.off("change:page", show);
    model.off("change:frame", show);
    model.off("change:problem", complain);
  };
}

export default { render };
