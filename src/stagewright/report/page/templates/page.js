"use strict";

(() => {
  const svg = document.getElementById("graph");
  const view = document.getElementById("view");
  const frame = document.getElementById("frame");
  const told = document.getElementById("told");
  const find = document.getElementById("find");
  const mark = document.getElementById("graph-mark");
  const rows = document.getElementById("table").tBodies[0].rows;
  const heads = document.getElementById("table").tHead.rows[0].cells;
  const { box, at, readers } = JSON.parse(document.getElementById("graph-data").textContent);
  const whole = svg.viewBox.baseVal;
  const all = { x: 0, y: 0, w: whole.width, h: whole.height };
  const FAR = 0.42; // below this scale names cannot be read
  const CLOSEST = 4;
  let now = { ...all };
  let drawing = false;

  const scale = () => Math.min(view.clientWidth / now.w, view.clientHeight / now.h);

  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      svg.setAttribute("viewBox", `${now.x} ${now.y} ${now.w} ${now.h}`);
      svg.classList.toggle("far", scale() < FAR);
    });
  }

  function inside(value, low, high) {
    return Math.min(Math.max(value, low), high);
  }

  function move(dx, dy) {
    const k = scale();
    now.x = inside(now.x - dx / k, all.x - now.w / 2, all.w - now.w / 2);
    now.y = inside(now.y - dy / k, all.y - now.h / 2, all.h - now.h / 2);
    draw();
  }

  // The point of the picture under a point of the screen.
  function point(clientX, clientY) {
    const bounds = view.getBoundingClientRect();
    const k = scale();
    return {
      x: now.x + now.w / 2 + (clientX - bounds.left - bounds.width / 2) / k,
      y: now.y + now.h / 2 + (clientY - bounds.top - bounds.height / 2) / k,
    };
  }

  function zoom(factor, clientX, clientY) {
    const fit = Math.min(view.clientWidth / all.w, view.clientHeight / all.h);
    const target = inside(scale() * factor, Math.min(fit, 1) * 0.8, Math.max(CLOSEST, fit));
    const real = target / scale();
    const bounds = view.getBoundingClientRect();
    const p = point(clientX ?? bounds.left + bounds.width / 2, clientY ?? bounds.top + bounds.height / 2);
    now = {
      x: p.x - (p.x - now.x) / real,
      y: p.y - (p.y - now.y) / real,
      w: now.w / real,
      h: now.h / real,
    };
    move(0, 0);
  }

  function showAll() {
    now = { ...all };
    draw();
  }

  function layerAt(p) {
    return at.findIndex(([x, y]) => p.x >= x && p.x <= x + box[0] && p.y >= y && p.y <= y + box[1]);
  }

  const name = (i) => rows[i].cells[0].textContent;

  function tell(i) {
    const cells = Array.from(rows[i].cells, (cell) => cell.textContent);
    const figures = cells.slice(2).map((text, k) => `${heads[k + 2].textContent}: ${text}`);
    const others = readers[i].slice(0, 6).map(name).join(", ");
    const more = readers[i].length > 6 ? ` and ${readers[i].length - 6} more` : "";
    told.textContent =
      `${cells[0]}: ${cells[1]}\n${figures.join("; ")}` + (others ? `\nRead by ${others}${more}` : "");
    mark.setAttribute("x", at[i][0] - 3);
    mark.setAttribute("y", at[i][1] - 3);
    mark.setAttribute("width", box[0] + 6);
    mark.setAttribute("height", box[1] + 6);
    mark.setAttribute("visibility", "visible");
  }

  function goTo(i) {
    const k = Math.max(scale(), 1);
    now = { w: view.clientWidth / k, h: view.clientHeight / k };
    now.x = at[i][0] + box[0] / 2 - now.w / 2;
    now.y = at[i][1] + box[1] / 2 - now.h / 2;
    tell(i);
    draw();
  }

  function enlarge(large) {
    frame.classList.toggle("large", large);
    const button = frame.querySelector('[data-do="enlarge"]');
    button.setAttribute("aria-pressed", String(large));
    button.textContent = large ? "Back to the page" : "Enlarge";
    showAll();
    settle();
  }

  const actions = {
    in: () => zoom(1.4),
    out: () => zoom(1 / 1.4),
    all: showAll,
    enlarge: () => enlarge(!frame.classList.contains("large")),
  };
  for (const button of frame.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }

  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 240 : 80;
    const keys = {
      ArrowLeft: () => move(step, 0),
      ArrowRight: () => move(-step, 0),
      ArrowUp: () => move(0, step),
      ArrowDown: () => move(0, -step),
      "+": actions.in,
      "=": actions.in,
      "-": actions.out,
      0: showAll,
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && frame.classList.contains("large")) enlarge(false);
  });

  // The wheel belongs to the page, unless the reader asks for the picture.
  view.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey && !frame.classList.contains("large")) return;
      event.preventDefault();
      zoom(Math.exp(-inside(event.deltaY, -120, 120) / 300), event.clientX, event.clientY);
    },
    { passive: false },
  );

  const fingers = new Map();
  let last = null;
  const middle = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  view.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    last = fingers.size === 2 ? middle() : null;
    if (event.pointerType === "mouse") view.setPointerCapture(event.pointerId);
    view.classList.add("moving");
  });
  view.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) {
      const i = layerAt(point(event.clientX, event.clientY));
      if (i >= 0) tell(i);
      return;
    }
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) {
      const next = middle();
      if (last) {
        move(next.x - last.x, next.y - last.y);
        zoom(next.apart / Math.max(last.apart, 1), next.x, next.y);
      }
      last = next;
    } else if (event.pointerType === "mouse" || frame.classList.contains("large")) {
      move(event.clientX - before.x, event.clientY - before.y);
    }
  });
  // One finger scrolls the page; two are the picture's.
  view.addEventListener("touchmove", (event) => event.touches.length > 1 && event.preventDefault(), {
    passive: false,
  });
  for (const type of ["pointerup", "pointercancel"]) {
    view.addEventListener(type, (event) => {
      const before = fingers.get(event.pointerId);
      fingers.delete(event.pointerId);
      last = null;
      if (fingers.size === 0) view.classList.remove("moving");
      if (type === "pointerup" && before) {
        const i = layerAt(point(event.clientX, event.clientY));
        if (i >= 0) tell(i);
      }
    });
  }

  let found = -1;
  function search(after) {
    const words = find.value.trim().toLowerCase();
    if (!words) return;
    for (let step = 1; step <= at.length; step += 1) {
      const i = (after + step) % at.length;
      const text = `${name(i)} ${rows[i].cells[1].textContent}`.toLowerCase();
      if (text.includes(words)) {
        found = i;
        goTo(i);
        return;
      }
    }
    told.textContent = "No layer is called that.";
  }
  find.addEventListener("input", () => search(-1));
  find.addEventListener("keydown", (event) => event.key === "Enter" && search(found));

  // As high as the picture needs at full width, within reason.
  function settle() {
    const wanted = (view.clientWidth * all.h) / all.w;
    view.style.height = `${inside(wanted, 240, Math.max(320, 0.75 * innerHeight))}px`;
    draw();
  }
  addEventListener("resize", settle);
  settle();
})();

for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}
