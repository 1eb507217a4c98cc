"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const points = read("points"), names = read("names");
  const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
  const small = (value) => value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6);
  const number = (value) => (small(value) ? value.toExponential(2) : digits(value));
  const bytes = (value) => {
    const power = Math.min(5, Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)));
    return `${(value / 1000 ** power).toFixed(power ? 1 : 0)} ${["", "k", "M", "G", "T", "P"][power]}B`;
  };
  const say = {
    test_accuracy: (value) => `${(100 * value).toFixed(2)} %`,
    round: (value) => `after round ${value.toLocaleString("en")}`,
    bytes_sent: (value) => `${bytes(value)} sent`,
    wall_seconds: (value) => `${digits(value)} s`,
    sim_seconds: (value) => `${digits(value)} s simulated`,
  };

  const element = (parent, tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  };
  const nearest = (values, wanted) => {
    let best = -1;
    values.forEach((value, index) => {
      if (value !== null && (best < 0 || Math.abs(value - wanted) < Math.abs(values[best] - wanted))) best = index;
    });
    return best;
  };

  for (const box of document.querySelectorAll(".box[data-measure]")) {
    const { measure, axis } = box.dataset;
    const runs = points[measure];
    if (!runs) continue;
    const [left, right] = box.dataset.x.split(" ").map(Number);
    const [low, high] = box.dataset.y.split(" ").map(Number);
    const scale = "log" in box.dataset ? Math.log10 : (value) => value;
    const shown = document.createElement("div");
    shown.setAttribute("role", "status");
    box.append(shown);
    let at = right;

    const show = (value) => {
      at = Math.min(right, Math.max(left, value));
      shown.replaceChildren();
      const guide = element(shown, "div", "guide"), tip = element(shown, "div", "tip");
      const seen = runs.map((run, index) => ({ run, index, row: nearest(run[axis], at) })).filter(({ row }) => row >= 0);
      if (!seen.length) return shown.replaceChildren();
      const anchor = seen.reduce((a, b) => (Math.abs(a.run[axis][a.row] - at) <= Math.abs(b.run[axis][b.row] - at) ? a : b));
      const x = anchor.run[axis][anchor.row];
      const share = (x - left) / (right - left);
      guide.style.left = `${100 * share}%`;
      element(tip, "div", "", say[axis](x));
      seen.sort((a, b) => b.run[measure][b.row] - a.run[measure][a.row]);
      for (const { run, index, row } of seen) {
        const value = run[measure][row], color = `s${index % 7}`;
        const line = element(tip, "div", color);
        element(line, "i");
        if (names.length > 1) element(line, "em", "", names[index]);
        const own = run[axis][row], far = Math.abs(own - x) > 0.01 * (right - left);
        element(line, "b", "", (say[measure] || number)(value) + (far ? `, ${say[axis](own)}` : ""));
        if (value < low || value > high) continue;
        const spot = element(shown, "div", `spot ${color}`);
        spot.style.left = `${(100 * (own - left)) / (right - left)}%`;
        spot.style.bottom = `${(100 * (scale(value) - scale(low))) / (scale(high) - scale(low))}%`;
      }
      const place = box.getBoundingClientRect(), x0 = share * place.width;
      const wanted = share > 0.5 ? x0 - tip.offsetWidth - 14 : x0 + 14;
      const furthest = document.documentElement.clientWidth - place.left - tip.offsetWidth - 8;
      tip.style.left = `${Math.max(8 - place.left, Math.min(wanted, furthest))}px`;
    };
    const hide = () => shown.replaceChildren();
    const follow = (event) => {
      const place = box.getBoundingClientRect();
      show(left + ((event.clientX - place.left) / place.width) * (right - left));
    };
    box.addEventListener("pointermove", follow);
    box.addEventListener("pointerdown", follow);
    box.addEventListener("pointerleave", hide);
    box.addEventListener("blur", hide);
    box.addEventListener("focus", () => box.matches(":focus-visible") && show(at));
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(at + (step * (right - left)) / 50);
    });
    box.setAttribute("role", "group");  // an image would hide what is said in it
    box.tabIndex = 0;
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    const words = button.textContent;
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
      } catch {
        getSelection().selectAllChildren(button.parentNode.querySelector("code"));
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Press Ctrl-C";
      setTimeout(() => (button.textContent = words), 1600);
    });
  }
})();
