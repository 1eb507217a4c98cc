// Networks and curves on canvases: for the control room, `p2pqg watch` and the report.
// Colors come from the style sheet around a canvas (--ink, --muted, --rule, --paper, --link, --warn,
// --focus, --s0 to --s6), so that dark and light follow it.
const p2pqgDrawing = (() => {
  const SMALLEST_RANGE = { test_accuracy: 0.05, ages: 1, steps: 1 };
  const MOST_HEIGHT = 520, LEAST_RADIUS = 2, NAMES_FROM = 7.5;
  const RED_DASH = [5, 4], LOOSE_DASH = [1, 4];

  const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;
  const number = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size && (size < 1e-3 || size >= 1e6)) return value.toExponential(1);
    return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
  };
  const bytes = (value) => {
    const power = Math.min(5, Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)));
    return `${number(value / 1000 ** power)} ${["", "k", "M", "G", "T", "P"][power]}B`;
  };
  const isShare = (key) => key.includes("accuracy");
  const say = (key, value) =>
    value === null || value === undefined ? "not measured" : isShare(key) ? percent(value) : number(value);

  // The colors of the style sheet, as the canvas needs them.
  const theme = (element) => {
    const style = getComputedStyle(element);
    const color = (name, otherwise) => style.getPropertyValue(`--${name}`).trim() || otherwise;
    return {
      ink: color("ink", "#17191c"), muted: color("muted", "#5b6068"), rule: color("rule", "#e5e4df"),
      paper: color("card", "#fff"), link: color("link", "#c3c7cc"), ring: color("ring", "#fafaf8"),
      bar: color("bar", "#3a4048"), warn: color("warn", "#9a3b00"), focus: color("focus", "#0072b2"),
      series: [0, 1, 2, 3, 4, 5, 6].map((k) => color(`s${k}`, "#0072b2")),
    };
  };

  // A canvas of so many CSS pixels, sharp on every screen.
  const prepared = (canvas, width, height) => {
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  };

  const channel = (color, at) => parseInt(color.slice(at, at + 2), 16);
  const mixed = (share, colors) => {
    const at = Math.min(Math.max(share, 0), 1) * (colors.length - 1);
    const index = Math.min(Math.floor(at), colors.length - 2);
    return [1, 3, 5].map((k) => {
      const low = channel(colors[index], k);
      return Math.round(low + (channel(colors[index + 1], k) - low) * (at - index));
    });
  };
  // Black or white, whichever is easier to read on a color (WCAG).
  const inkOn = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c > 10 ? ((c / 255 + 0.055) / 1.055) ** 2.4 : c / 255 / 12.92));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
  };

  // The ends of the color scale over several networks: what is nearly alike shall not look unlike.
  const rangeOf = (key, lists) => {
    const known = lists.flat().filter((value) => value !== null && value !== undefined);
    if (!known.length) return null;
    const high = known.reduce((a, b) => Math.max(a, b)), low = known.reduce((a, b) => Math.min(a, b));
    const least = SMALLEST_RANGE[key] ?? Math.max(1e-12, 1e-6 * Math.abs(high));
    if (high - low >= least) return [low, high];
    return isShare(key) ? [high - least, high] : [low, low + least];
  };

  const key = (a, b) => `${a} ${b}`;

  // Where a network is drawn: scene pixels -> canvas pixels.
  const fitted = (scene, width) => {
    const scale = Math.min(width / scene.width, MOST_HEIGHT / scene.height, 1.6);
    const highest = Math.min(...scene.spots.map(([, y]) => y)) * scale;  // with its name above it
    const top = scene.above.some(Boolean) ? Math.max(0, Math.max(scene.radius * scale, LEAST_RADIUS) + 14 - highest) : 0;
    return { scale, top, height: Math.ceil(scene.height * scale + top), left: (width - scene.width * scale) / 2 };
  };
  const spot = (scene, fit, client) => [
    fit.left + scene.spots[client][0] * fit.scale, fit.top + scene.spots[client][1] * fit.scale,
  ];
  const radiusOf = (scene, fit) => Math.max(scene.radius * fit.scale, LEAST_RADIUS);

  // Draw a network. `look` has: scene, values (a number or null per client), range, cut, absent,
  // liars, widths (a number per link, or null), chosen ({client} or {link: [a, b]}), and
  // rope ([x, y, x, y], a link that is being drawn).
  const network = (canvas, look) => {
    const { scene } = look, width = canvas.clientWidth || 400, fit = fitted(scene, width);
    const context = prepared(canvas, width, fit.height), colors = theme(canvas);
    const radius = radiusOf(scene, fit);
    const cut = new Set((look.cut || []).flatMap(([a, b]) => (scene.directed ? [key(a, b)] : [key(a, b), key(b, a)])));
    const absent = new Set(look.absent || []), liars = new Set(look.liars || []);
    const links = look.links || scene.links;
    const most = look.widths ? Math.max(...look.widths.map((w) => w ?? 0), 1e-30) : 1;

    const lines = { up: new Path2D(), loose: new Path2D(), cut: new Path2D() }, wide = [];
    links.forEach(([a, b], index) => {
      const from = spot(scene, fit, a), to = spot(scene, fit, b);
      const kind = cut.has(key(a, b)) ? "cut" : absent.has(a) || absent.has(b) ? "loose" : "up";
      const width = look.widths?.[index];
      if (kind === "up" && width !== undefined && width !== null) wide.push([from, to, width / most]);
      else { lines[kind].moveTo(...from); lines[kind].lineTo(...to); }
    });
    const stroke = (path, color, width, dash = []) => {
      context.strokeStyle = color; context.lineWidth = width; context.setLineDash(dash);
      context.stroke(path); context.setLineDash([]);
    };
    stroke(lines.up, colors.link, links.length > 1500 ? 0.4 : 1);
    stroke(lines.loose, colors.link, 1, LOOSE_DASH);
    stroke(lines.cut, colors.warn, 1.6, RED_DASH);
    for (const [from, to, share] of wide) {
      context.strokeStyle = colors.link; context.lineWidth = 0.6 + 6 * share;
      context.beginPath(); context.moveTo(...from); context.lineTo(...to); context.stroke();
    }
    if (scene.directed && links.length <= 600) {
      context.fillStyle = colors.link;
      const both = new Set(links.map(([a, b]) => key(a, b)));
      for (const [a, b] of links) if (!both.has(key(b, a))) arrow(context, spot(scene, fit, a), spot(scene, fit, b), radius);
    }
    const chosen = look.chosen || {};
    if (chosen.link) {
      const line = new Path2D();
      line.moveTo(...spot(scene, fit, chosen.link[0])); line.lineTo(...spot(scene, fit, chosen.link[1]));
      stroke(line, colors.focus, 4);
    }
    if (look.rope) {
      const line = new Path2D();
      line.moveTo(look.rope[0], look.rope[1]); line.lineTo(look.rope[2], look.rope[3]);
      stroke(line, colors.focus, 2, [6, 4]);
    }

    const bars = scene.bars.length === scene.clients && radius >= 6;
    for (let client = 0; client < scene.clients; client++) {
      const [x, y] = spot(scene, fit, client), here = !absent.has(client);
      if (bars) shard(context, scene, client, x, y, radius, fit.scale, colors);
      const value = look.values?.[client];
      const known = value !== null && value !== undefined && look.range;
      const rgb = known ? mixed((value - look.range[0]) / (look.range[1] - look.range[0]), scene.colors) : [154, 160, 166];
      context.beginPath(); context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = here ? `rgb(${rgb})` : colors.paper;
      context.fill();
      if (radius > 3 || !here) {
        context.lineWidth = 1.5; context.strokeStyle = here ? colors.ring : colors.warn;
        context.setLineDash(here ? [] : [3, 2.5]); context.stroke(); context.setLineDash([]);
      }
      if (liars.has(client)) {  // a square around who lies: a shape, as colors are taken
        context.lineWidth = 2; context.strokeStyle = colors.warn;
        context.strokeRect(x - radius - 3, y - radius - 3, 2 * radius + 6, 2 * radius + 6);
      }
      if (chosen.client === client) {
        context.beginPath(); context.arc(x, y, radius + 3.5, 0, 2 * Math.PI);
        context.lineWidth = 3; context.strokeStyle = colors.focus; context.stroke();
      }
      context.textAlign = "center"; context.textBaseline = "middle";
      if (scene.inside[client] && radius >= NAMES_FROM) {
        const letters = scene.inside[client].length;
        context.font = `600 ${Math.min(11, radius, (1.75 * radius) / (0.62 * letters))}px system-ui, sans-serif`;
        context.fillStyle = here ? inkOn(rgb) : colors.muted;
        context.fillText(scene.inside[client], x, y + 0.5);
      } else if (scene.above[client] && radius >= 5) {
        context.font = `${Math.max(8.5, 10.5 * Math.min(fit.scale, 1))}px system-ui, sans-serif`;
        context.fillStyle = colors.ink;
        context.fillText(scene.above[client], x, y - radius - 7);
      }
    }
    return fit;
  };

  const arrow = (context, from, to, radius) => {
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) || 1;
    const way = [(to[0] - from[0]) / far, (to[1] - from[1]) / far];
    const tip = [to[0] - (radius + 2) * way[0], to[1] - (radius + 2) * way[1]];
    context.beginPath(); context.moveTo(...tip);
    for (const side of [1, -1]) {
      context.lineTo(tip[0] - 7 * way[0] - 2.6 * side * way[1], tip[1] - 7 * way[1] + 2.6 * side * way[0]);
    }
    context.fill();
  };

  // A client's samples by class, as small bars on a card below its disk.
  const shard = (context, scene, client, x, y, radius, scale, colors) => {
    const wide = 32 * scale, high = 18 * scale, top = y + radius + 2.5, step = wide / scene.bars[client].length;
    context.fillStyle = colors.paper; context.strokeStyle = colors.rule; context.lineWidth = 1;
    context.beginPath();
    context.roundRect(x - wide / 2 - 4 * scale, y + 2, wide + 8 * scale, radius + high + 5 * scale, 5 * scale);
    context.fill(); context.stroke();
    context.fillStyle = colors.bar;
    context.fillRect(x - wide / 2, top + high, wide, 0.6);
    scene.bars[client].forEach((share, label) => {
      const tall = share ? Math.max(1, share * high) : 0;
      context.fillRect(x - wide / 2 + label * step, top + high - tall, Math.max(step - 0.8, 0.5), tall);
    });
  };

  // What is at a place of the canvas: {client}, {link: [a, b]} or {}.
  const hit = (scene, fit, x, y, links = scene.links) => {
    const radius = radiusOf(scene, fit);
    let best = {}, nearest = radius + 5;
    for (let client = 0; client < scene.clients; client++) {
      const [a, b] = spot(scene, fit, client), far = Math.hypot(x - a, y - b);
      if (far < nearest) { nearest = far; best = { client }; }
    }
    if (best.client !== undefined) return best;
    nearest = 7;
    for (const link of links) {
      const [ax, ay] = spot(scene, fit, link[0]), [bx, by] = spot(scene, fit, link[1]);
      const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
      const share = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length));
      const far = Math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay));
      if (far < nearest) { nearest = far; best = { link }; }
    }
    return best;
  };

  const called = (scene, client) => scene.labels[client] ?? String(client);

  // Round numbers for an axis, about `parts` of them.
  const ticks = (low, high, parts) => {
    const rough = (high - low) / parts, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find((k) => k * power >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  };

  const MOST_POINTS = 700;
  const thinned = (points) => {
    if (points.length <= MOST_POINTS) return points;
    const step = Math.ceil(points.length / MOST_POINTS);
    return points.filter((_, index) => index % step === 0 || index === points.length - 1);
  };

  // Draw curves. `look` has: series ({points: [[x, y]], low and high likewise (a band), color, dash,
  // name}), marks ([{x, color}]), say (a value as text), xSay, zero (the y axis has 0), at (an x),
  // until (where the x axis ends at least).
  const curves = (canvas, look) => {
    const width = canvas.clientWidth || 320, height = look.height || 190;
    const context = prepared(canvas, width, height), colors = theme(canvas);
    const left = 46, right = 66, top = 8, bottom = 24;
    const series = look.series.map((one) => ({
      ...one, points: thinned(one.points.filter(([x, y]) => x !== null && y !== null)),
      band: one.band && thinned(one.band.filter((row) => row.every((value) => value !== null))),
    }));
    const every = series.flatMap((one) => [...one.points, ...(one.band || []).flatMap(([x, a, b]) => [[x, a], [x, b]])]);
    context.font = "11px system-ui, sans-serif"; context.textBaseline = "middle";
    if (!every.length) {
      context.fillStyle = colors.muted; context.textAlign = "center";
      context.fillText("nothing measured yet", width / 2, height / 2);
      return;
    }
    const max = (at) => every.reduce((most, point) => Math.max(most, point[at]), -Infinity);
    const min = (at) => every.reduce((least, point) => Math.min(least, point[at]), Infinity);
    const x1 = Math.max(max(0), look.until ?? 0, 1e-12);
    let [y0, y1] = [look.zero ? Math.min(0, min(1)) : min(1), max(1)];
    if (y1 - y0 < 1e-12) y1 = y0 + (Math.abs(y0) * 0.1 || 0.01);
    const margin = 0.05 * (y1 - y0);
    y1 += margin; if (!look.zero || y0 < 0) y0 -= margin;
    const px = (x) => left + (x / x1) * (width - left - right);
    const py = (y) => top + (1 - (y - y0) / (y1 - y0)) * (height - top - bottom);
    context.strokeStyle = colors.rule; context.lineWidth = 1; context.fillStyle = colors.muted;
    for (const tick of ticks(y0, y1, 4)) {
      context.beginPath(); context.moveTo(left, py(tick)); context.lineTo(width - right, py(tick)); context.stroke();
      context.textAlign = "right"; context.fillText(look.say(tick), left - 6, py(tick));
    }
    for (const tick of ticks(0, x1, width > 420 ? 5 : 3)) {
      context.textAlign = "center"; context.fillText((look.xSay || number)(tick), px(tick), height - 10);
    }
    for (const mark of look.marks || []) {
      if (mark.x === null || mark.x > x1) continue;
      context.strokeStyle = mark.color; context.setLineDash([1, 4]);
      context.beginPath(); context.moveTo(px(mark.x), top); context.lineTo(px(mark.x), height - bottom); context.stroke();
      context.setLineDash([]);
    }
    if (look.at !== undefined && look.at !== null && look.at <= x1) {
      context.strokeStyle = colors.focus; context.lineWidth = 1.5;
      context.beginPath(); context.moveTo(px(look.at), top); context.lineTo(px(look.at), height - bottom); context.stroke();
    }
    for (const one of series) {
      if (one.band?.length) {
        context.globalAlpha = 0.16; context.fillStyle = one.color; context.beginPath();
        one.band.forEach(([x, low], k) => context[k ? "lineTo" : "moveTo"](px(x), py(low)));
        [...one.band].reverse().forEach(([x, , high]) => context.lineTo(px(x), py(high)));
        context.fill(); context.globalAlpha = 1;
      }
      context.strokeStyle = one.color; context.lineWidth = one.thin ? 1 : 2; context.setLineDash(one.dash || []);
      context.beginPath();
      one.points.forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](px(x), py(y)));
      context.stroke(); context.setLineDash([]);
      if (one.points.length === 1) { context.fillStyle = one.color; context.fillRect(px(one.points[0][0]) - 2, py(one.points[0][1]) - 2, 4, 4); }
    }
    // The last values, pushed off each other.
    const ends = series.filter((one) => one.points.length && !one.thin)
      .map((one) => ({ y: py(one.points.at(-1)[1]), text: look.say(one.points.at(-1)[1]), color: one.color, name: one.name?.length < 3 ? one.name : "" }))
      .sort((a, b) => a.y - b.y);
    ends.forEach((end, k) => { if (k) end.y = Math.max(end.y, ends[k - 1].y + 13); });
    [...ends].reverse().forEach((end, k, up) => { end.y = Math.min(end.y, k ? up[k - 1].y - 13 : height - bottom); });
    context.textAlign = "left"; context.font = "600 11px system-ui, sans-serif";
    for (const end of ends) {
      context.fillStyle = end.color;
      context.fillText(`${end.name ? `${end.name} ` : ""}${end.text}`, width - right + 5, end.y);
    }
  };

  return { network, hit, curves, rangeOf, called, say, number, percent, bytes, isShare };
})();
