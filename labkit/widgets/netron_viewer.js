// Frames with Netron, served by the kernel (netron_server.py). The browser finds the way to the kernel's machine:
// through jupyter-server-proxy at the notebook server's base URL, else directly at this page's own host. Where neither
// answers, the drawing and the sentence say the same.

function node(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function baseUrl() {
  const config = document.getElementById("jupyter-config-data");
  return config ? (JSON.parse(config.textContent).baseUrl ?? "/") : null;
}

async function findRoot(port, token) {
  const base = baseUrl();
  if (base !== null) {
    const proxied = new URL(`${base}proxy/${port}/`, location.href).href;
    const answer = await fetch(`${proxied}${token}/alive`).catch(() => null);
    if (answer?.ok && (await answer.text()) === token) return proxied; // a login page is also "ok"
  }
  const web = location.protocol.startsWith("http");
  const direct = `${web ? location.protocol : "http:"}//${(web && location.hostname) || "localhost"}:${port}/`;
  // Another origin: whether somebody answers is all that the browser tells.
  const answered = await fetch(`${direct}${token}/alive`, { mode: "no-cors" }).then(() => true, () => false);
  return answered ? direct : null;
}

// Netron measures its labels as it draws. In a frame that is hidden, as after "run all" for a cell further down, they
// have no size and the graph stays empty: so it is loaded when the frame is first seen.
function loadWhenSeen(shown, address) {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    shown.src = address;
  });
  watch.observe(shown);
}

function frame(root, { token, name }, height) {
  const address = `${root}${token}/`; // with the slash: without it a proxy answers 404
  const style = `width: 100%; height: ${height}px; box-sizing: border-box; border: 1px solid #bdbdbd; background: white`;
  const shown = node("iframe", { title: `Netron: ${name}`, style });
  loadWhenSeen(shown, address);
  const blue = "color: var(--jp-content-link-color, #1565c0); text-decoration: underline";
  const link = node("a", { href: address, target: "_blank", rel: "noreferrer", style: blue }, [`Open ${name} in a tab`]);
  return node("div", { style: "flex: 1 1 300px; min-width: 0" }, [shown, node("div", {}, [link])]);
}

async function render({ model, el }) {
  const url = URL.createObjectURL(new Blob([model.get("picture")], { type: "image/png" }));
  const size = `width: ${model.get("picture_width")}px; max-width: 100%`;
  const picture = node("img", { src: url, alt: model.get("sentence"), style: size });
  const frames = node("div", { style: "display: flex; flex-wrap: wrap; gap: 8px" });
  const note = node("p", { role: "status", style: "margin: 4px 0" }, ["Looking for the viewer …"]);
  const parts = [node("p", { style: "margin: 4px 0; max-width: 80ch" }, [model.get("sentence")]), frames, note];
  el.append(node("div", { style: "color: var(--jp-ui-font-color1, #1f2430)" }, parts));
  if (model.get("picture_first")) frames.before(picture);

  const root = await findRoot(model.get("port"), model.get("views")[0].token);
  if (root) {
    frames.append(...model.get("views").map((view) => frame(root, view, model.get("height"))));
    note.textContent = model.get("credit");
    note.style.opacity = "0.7";
  } else {
    if (!model.get("picture_first")) frames.before(picture);
    note.textContent =
      "The viewer does not answer, so this is a drawing. If the kernel was restarted, run the cell again; on a remote " +
      "server jupyter-server-proxy has to be installed.";
  }
  return () => URL.revokeObjectURL(url);
}

export default { render };
