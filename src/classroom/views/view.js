// Shows a view's HTML, keeps what the reader has under hand, and sends what is pressed. All decisions are Python's.

const KEPT = { DETAILS: ["open"], TEXTAREA: ["style"] }; // the reader's own

const keyOf = (node) => (node.nodeType === 1 ? node.tagName + (node.dataset.key ?? "") : node.nodeType);

function morph(from, to) {
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && !KEPT[from.tagName]?.includes(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes)
    if (from.getAttribute(name) !== value) {
      from.setAttribute(name, value);
      if (name === "value" && from !== document.activeElement) from.value = value;
    }
  if (from.type === "radio" && from.name !== document.activeElement?.name) from.checked = to.checked;
  if (from.tagName === "TEXTAREA") return; // what was typed stays
  const old = [...from.childNodes];
  const next = [...to.childNodes];
  next.forEach((node, index) => {
    const there = old[index];
    if (!there) from.append(node);
    else if (keyOf(there) !== keyOf(node)) there.replaceWith(node);
    else if (node.nodeType === 1) morph(there, node);
    else if (there.data !== node.data) there.data = node.data;
  });
  old.slice(next.length).forEach((node) => node.remove());
}

function parsed(html, prefix) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const node of template.content.querySelectorAll("[id]")) node.id = prefix + node.id;
  for (const node of template.content.querySelectorAll("[for]")) node.setAttribute("for", prefix + node.htmlFor);
  for (const node of template.content.querySelectorAll("input[name]")) node.name = prefix + node.name;
  // a key is for the control that has the focus, not for a command of the notebook
  for (const node of template.content.querySelectorAll("button, input, textarea, summary, [tabindex]"))
    node.dataset.lmSuppressShortcuts = "true";
  const root = document.createElement("div");
  root.append(template.content);
  return root;
}

function render({ model, el }) {
  const prefix = `dlo-${crypto.getRandomValues(new Uint32Array(1))[0]}-`; // each view loads this module anew
  el.classList.add("dlo-view");
  const root = document.createElement("div");
  root.setAttribute("role", "region");
  el.append(root);

  let ended = false;
  const show = () => {
    if (ended) {
      root.textContent = "The kernel that this view belonged to has ended. Run its cell again to see what is now.";
      return;
    }
    const id = root.contains(document.activeElement) && document.activeElement.id;
    const atEnd = new Set();
    for (const [index, node] of root.querySelectorAll("[data-tail]").entries())
      if (node.scrollTop + node.clientHeight > node.scrollHeight - 4) atEnd.add(index);
    const next = parsed(model.get("html"), prefix);
    for (const { name, value } of root.attributes) next.setAttribute(name, value);
    next.setAttribute("aria-label", model.get("label"));
    morph(root, next);
    for (const [index, node] of root.querySelectorAll("[data-tail]").entries())
      if (atEnd.has(index) || !node.scrollTop) node.scrollTop = node.scrollHeight;
    if (id && !root.contains(document.activeElement)) // what had the focus is gone: the next thing takes it
      (document.getElementById(id) ?? root.querySelector("input, button, textarea"))?.focus();
  };

  const send = (control) => {
    if (control.getAttribute("aria-disabled") === "true") return;
    const values = {};
    for (const field of root.querySelectorAll("textarea[name]")) values[field.name] = field.value;
    const arg = control.matches("input") ? control.value : control.dataset.arg ?? null;
    model.send({ act: control.dataset.act, arg, values });
  };
  root.addEventListener("click", (event) => {
    const control = event.target.closest("[data-act]");
    if (control && !control.matches("input")) send(control);
    const drawn = event.target.closest("[data-message]"); // in a picture; by keyboard one takes the list
    if (drawn) model.send({ act: "choose", arg: drawn.dataset.message, values: {} });
  });
  root.addEventListener("change", (event) => {
    if (event.target.matches("input[data-act]")) send(event.target);
  });
  root.addEventListener("input", (event) => {
    if (!event.target.matches("input[type=range]")) return;
    const shown = `${event.target.value} ${event.target.dataset.unit}`;
    event.target.setAttribute("aria-valuetext", shown);
    event.target.parentElement.querySelector(".amount").textContent = shown;
  });

  const turned = async () => { // the kernel went, or is back
    ended = !(await model.widget_manager.get_model(model.get("ident")).catch(() => null))?.comm_live;
    show();
  };
  model.on("comm_live_update", turned);
  model.on("change:html", show);
  show();
  model.send({ act: "shown" });
  return () => {
    model.off("comm_live_update", turned);
    model.off("change:html", show);
    model.send({ act: "hidden" });
  };
}

export default { render };
