// Draws the shapes of a Drawing (drawing.py) as SVG, and again whenever Python sends another.
// What it owes its reader: role="img" with a name that follows the sentence (which stands as text below), the same
// light card as the PNG on both themes, no innerHTML (texts come from notebooks), nothing from the network.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 12;

function node(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function shape(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

const through = (points) => points.map(([x, y]) => `${x},${y}`).join(" ");

const draw = {
  Area: ({ points, color, edge, hatched }, hatch) => {
    const outline = { points: through(points), stroke: edge || "none", "stroke-width": 1 };
    const fill = shape("polygon", { ...outline, fill: color });
    return hatched ? [fill, shape("polygon", { points: outline.points, fill: `url(#${hatch})` })] : [fill];
  },
  Line: ({ points, color, width, dashed }) => {
    const look = { fill: "none", stroke: color, "stroke-width": width, "stroke-linejoin": "round" };
    return [shape("polyline", { ...look, points: through(points), ...(dashed && { "stroke-dasharray": "7 5" }) })];
  },
  Dot: ({ x, y, color, radius, hollow }, hatch, paper) => {
    return [shape("circle", { cx: x, cy: y, r: radius, fill: hollow ? paper : color, stroke: color, "stroke-width": 1.3 })];
  },
  Text: ({ x, y, text, anchor, bold, size, color }) => {
    const look = { "text-anchor": anchor, "font-size": size, "font-weight": bold ? "bold" : "normal", fill: color };
    return [shape("text", { x, y, "dominant-baseline": "central", ...look }, text)];
  },
};

function render({ model, el }) {
  const hatch = `labkit-drawing-hatch-${Math.random().toString(36).slice(2)}`;
  const svg = shape("svg", { role: "img" });
  const problem = node("pre", { class: "labkit-problem", role: "alert", hidden: "" });
  const root = node("div", { class: "labkit-drawing" });
  root.append(svg, problem);
  el.append(root);

  function show() {
    const page = model.get("page");
    const [width, height] = [page.width + 2 * MARGIN, page.height + 2 * MARGIN];
    svg.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${width} ${height}`);
    svg.style.width = `${width}px`;
    svg.style.background = page.paper;
    const pattern = shape("pattern", { id: hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse" });
    pattern.append(shape("path", { d: "M-1,1 l2,-2 M0,6 l6,-6 M5,7 l2,-2", stroke: page.hatch, "stroke-width": 0.8 }));
    svg.replaceChildren(pattern, ...page.shapes.flatMap((each) => draw[each.kind](each, hatch, page.paper)));
    svg.setAttribute("aria-label", `${page.title}. ${page.sentence}`);
    root.setAttribute("aria-label", page.title);
  }

  function complain() {
    problem.textContent = model.get("problem");
    problem.hidden = !problem.textContent;
    svg.style.display = problem.textContent ? "none" : "";
  }

  model.on("change:page", show);
  model.on("change:problem", complain);
  show();
  complain();
  return () => {
    model.off("change:page", show);
    model.off("change:problem", complain);
  };
}

export default { render };
