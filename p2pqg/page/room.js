// Networks side by side with their curves, and hands for who may touch them. It knows nothing of
// where frames come from: `port` has send(message) and listen(function of a frame); see
// `p2pqg.control.room` for both. Needs p2pqgDrawing.
const p2pqgRoom = (() => {
  const draw = p2pqgDrawing;
  const MOST_ROWS = 4000;  // of a curve that are kept; beyond, every second one goes
  const SECONDS_OF_PATIENCE = 6;
  const SECONDS_OF_SILENCE = 15;  // while it plays: a round may take long
  const COMPACT_FROM = 7;  // so many networks get small curves only, until one is opened
  const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];  // beside colors, for who does not see these
  const POINT = { round: 0, bytes: 1, seconds: 2, accuracy: 3, std: 4, worst: 5, loss: 6, consensus: 7 };
  const AXES = { round: "rounds", bytes: "bytes", seconds: "simulated seconds" };
  const RETURNS = { stale: "as it left", average: "with its neighbors' average", neighbor: "with a neighbor's model" };
  const count = (n) => n.toLocaleString("en");
  const halved = (rows) => {  // from the last on; evaluations by themselves, all may be at odd places
    const seen = [0, 0];
    return rows.toReversed().filter((row) => seen[Number(row[POINT.accuracy] !== null)]++ % 2 === 0).reverse();
  };

  const element = (parent, tag, attributes = {}, text) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  };
  const select = (parent, label, options, change) => {
    const box = element(parent, "label", { class: "field" }, `${label} `);
    const list = element(box, "select", { onchange: () => change(list.value) });
    const fill = (known) => {
      const wanted = Object.keys(known).join();
      if (list.dataset.known === wanted) return;
      const before = list.value;
      list.dataset.known = wanted;
      list.replaceChildren();
      for (const [value, text] of Object.entries(known)) element(list, "option", { value }, text);
      if (before in known) list.value = before;
    };
    fill(options);
    return { list, fill };
  };

  const mount = (root, port, { hands = true, curves = true, attacks = [], topologies = [] } = {}) => {
    root.classList.add("p2pqg-room");
    const ownKeys = (event) => {  // JupyterLab's own letters; Ctrl+S and the like stay its
      if (event.ctrlKey || event.metaKey) root.removeAttribute("data-lm-suppress-shortcuts");
      else root.setAttribute("data-lm-suppress-shortcuts", "true");
    };
    ownKeys({});
    window.addEventListener("keydown", ownKeys, true);
    root.tabIndex = -1;
    const state = {
      frame: null, branches: new Map(), active: null, wanted: "test_accuracy", measure: "test_accuracy", axis: "round",
      links: "none", shared: "none", opened: new Set(), asked: null, heard: null, longest: 0,
    };
    const send = (message) => {
      if (!port.send) return;
      state.asked = state.asked ?? Date.now();
      port.send(message);
    };
    const act = (verb, given) => send({ do: "verb", branch: state.active, verb, given });

    // The frame of the page
    const bar = element(root, "div", { class: "tools", role: "toolbar", "aria-label": "time and views" });
    const button = (parent, text, keys, about, click) =>
      element(parent, "button", { type: "button", title: keys ? `${about} (${keys})` : about, "aria-label": about, "aria-keyshortcuts": keys || null, onclick: click }, text);
    const tools = {};
    if (hands) {
      tools.play = button(bar, "▶ Play", "Space", "play to the end", () => toggle());
      button(bar, "1 round", ".", "play one round", () => send({ do: "play", rounds: 1 }));
      const some = element(bar, "label", { class: "field" });
      tools.rounds = element(some, "input", { type: "number", min: 1, value: 10, "aria-label": "rounds to play" });
      button(bar, "rounds", "n", "play that many rounds", () => playSome());
      button(bar, "Fork", "f", "fork the chosen network", () => send({ do: "fork", branch: state.active }));
      button(bar, "Undo", "u", "go back to before the last action", () => send({ do: "undo", branch: state.active }));
    }
    const views = element(bar, "span", { class: "views" });
    const colored = select(views, "color", { test_accuracy: "accuracy" }, (value) => { state.wanted = value; paint(); });
    const wide = select(views, "links", { none: "alike", bytes: "by bytes", disagreement: "by disagreement" },
      (value) => { state.links = value; if (hands) send({ do: "show", links: value }); else paint(); });
    const against = select(views, "against", { round: AXES.round }, (value) => { state.axis = value; paint(); });
    if (!curves) against.list.parentNode.hidden = true;
    const status = element(root, "p", { class: "sentence", role: "status", "aria-live": "polite" });
    const scale = element(root, "div", { class: "scale" });
    const together = element(root, "label", { class: "scrub together", hidden: true }, "time ");
    const shared = element(together, "input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "go through the rounds", oninput: () => lookTogether() });
    const sharedAt = element(together, "output", {});
    const board = element(root, "div", { class: "board" });
    const charts = element(root, "div", { class: "charts" });
    const said = element(root, "p", { class: "unseen", "aria-live": "polite" });
    const panel = hands ? element(root, "div", { class: "panel", role: "group", "aria-label": "change the chosen network" }) : null;
    const story = element(root, "div", { class: "story" });
    const menu = element(root, "div", { class: "menu", role: "menu", hidden: true });

    const toggle = () => send({ do: state.frame?.playing ? "pause" : "play" });
    const playSome = () => send({ do: "play", rounds: Math.max(1, Math.round(Number(tools.rounds.value) || 1)) });

    // One network
    class Card {
      constructor(id) {
        this.id = id; this.now = {}; this.rows = []; this.chosen = {}; this.fit = null; this.rope = null;
        this.box = element(board, "section", { class: "network", "data-branch": id, onpointerdown: () => choose(id), onfocusin: () => choose(id) });
        const head = element(this.box, "header");
        this.title = element(head, "h3");
        this.about = element(head, "span", { class: "muted" });
        this.open = button(head, "open", null, "show the network", () => { state.opened.has(id) ? state.opened.delete(id) : state.opened.add(id); port.open?.([...state.opened]); paint(); });
        if (hands && id) button(head, "×", null, "close this fork", () => send({ do: "end", branch: id }));
        this.canvas = element(this.box, "canvas", { tabindex: 0, role: "application", "aria-roledescription": "network" });
        this.small = element(this.box, "canvas", { class: "small", role: "img", hidden: true });
        this.scrub = element(this.box, "label", { class: "scrub" }, "past ");
        this.slider = element(this.scrub, "input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "look at a moment of the past", oninput: () => this.look() });
        this.at = element(this.scrub, "output");
        if (hands) {
          this.now_ = button(this.scrub, "now", null, "look at now", () => send({ do: "look", branch: id, round: null }));
          this.back = button(this.scrub, "go back", "b", "go back to this moment; what was later is forgotten", () => this.goBack());
        }
        this.listen();
      }

      look() {
        const { moments } = this.now, at = Number(this.slider.value);
        const last = at >= moments.length;
        clearTimeout(this.wait);  // while it is dragged, only the last place counts
        this.wait = setTimeout(() => send({ do: "look", branch: this.id, round: last ? null : moments[at] }), 60);
        this.at.textContent = last ? "now" : `round ${count(moments[at])}`;
      }

      goBack() {
        if (this.now.past) send({ do: "back", branch: this.id, round: this.now.round });
        else send({ do: "undo", branch: this.id });
      }

      listen() {
        const place = (event) => {
          const box = this.canvas.getBoundingClientRect();
          return [event.clientX - box.left, event.clientY - box.top];
        };
        const under = (event) => draw.hit(this.now.scene, this.fit, ...place(event), this.now.links);
        let press = null;  // what the pointer went down on, and where; held until it is let go
        const isStill = (at) => Math.hypot(at[0] - press.at[0], at[1] - press.at[1]) <= 8;
        this.canvas.addEventListener("pointerdown", (event) => {
          if (!this.fit || !event.isPrimary || event.button !== 0) return;
          press = { ...under(event), at: place(event) };
          this.canvas.setPointerCapture(event.pointerId);  // it may be let go on another network
        });
        this.canvas.addEventListener("pointermove", (event) => {
          if (!this.fit) return;
          const at = place(event);
          if (press && hands && press.client !== undefined && (this.rope || !isStill(at))) {
            this.rope = [...press.at, ...at]; this.paint();
            return;
          }
          const found = under(event);
          this.canvas.style.cursor = hands && (found.link || found.client !== undefined) ? "pointer" : "default";
          this.canvas.title = this.describe(found);
        });
        this.canvas.addEventListener("pointerup", (event) => {
          if (!press || event.button !== 0) return;
          const { at, ...was } = press, found = under(event), rope = this.rope, still = isStill(place(event));
          press = this.rope = null;
          if (rope) {
            if (found.client !== undefined && found.client !== was.client) act("add_links", { links: [[was.client, found.client]] });
            this.paint();
          } else if (still) this.pick(was, event);
        });
        const letGo = () => { if (press) { press = this.rope = null; this.paint(); } };
        this.canvas.addEventListener("pointercancel", letGo);
        this.canvas.addEventListener("lostpointercapture", letGo);
        this.canvas.addEventListener("keydown", (event) => this.key(event));
        this.canvas.addEventListener("focus", () => { if (this.now.scene && this.chosen.client === undefined && !this.chosen.link) this.choose({ client: 0 }); });
      }

      // Arrows go through the clients (left, right) and the links of one (up, down); Enter acts.
      key(event) {
        const { scene } = this.now;
        if (!scene) return;
        const links = this.now.links ?? scene.links, step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        const client = this.chosen.client ?? this.chosen.of ?? 0;
        if (step) this.choose({ client: (client + step + scene.clients) % scene.clients });
        else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
          const own = links.filter((link) => link.includes(client));
          if (!own.length) return;
          const at = this.chosen.link ? own.findIndex((link) => link[0] === this.chosen.link[0] && link[1] === this.chosen.link[1]) : -1;
          const next = (at + (event.key === "ArrowDown" ? 1 : -1) + own.length) % own.length;
          this.choose({ link: own[next], of: client });
        } else if (event.key === "Enter" && hands) this.pick(this.chosen, null);
        else return;
        event.preventDefault();
        event.stopPropagation();
      }

      choose(found) { this.chosen = found; said.textContent = this.describe(found); this.paint(); }

      // What a click does: a link is cut or restored, a client opens its menu.
      pick(found, event) {
        choose(this.id);
        closeMenu();
        this.choose(found);
        if (!hands) return;
        if (found.link) act(this.isCut(found.link) ? "restore_links" : "drop_links", { links: [found.link] });
        else if (found.client !== undefined) openMenu(this, found.client, event);
      }

      isCut([a, b]) {
        return this.now.cut.some(([c, d]) => (a === c && b === d) || (!this.now.scene.directed && a === d && b === c));
      }

      describe(found) {
        const { scene } = this.now;
        if (!scene) return "";
        if (found.link) {
          const [a, b] = found.link.map((client) => draw.called(scene, client));
          return `link ${a} – ${b}${this.isCut(found.link) ? ", cut" : ""}`;
        }
        if (found.client === undefined) return "";
        const client = found.client, told = [`client ${draw.called(scene, client)}`];
        if (this.now.absent.includes(client)) told.push("left");
        if (this.now.liars.includes(client)) told.push("lies");
        for (const [key, title] of Object.entries(this.now.measures ?? {})) {
          const value = this.now.values?.of?.[key]?.[client];
          if (value !== null && value !== undefined) told.push(`${title} ${draw.say(key, value)}`);
        }
        if (this.older(this.now.values?.round)) told.push(`measured${this.older(this.now.values.round)}`);
        if (scene.shards[client]) told.push(scene.shards[client]);
        return told.join(", ");
      }

      // After which round something was measured, where that is not the round which is shown.
      older(round) { return round !== undefined && round !== this.now.round ? ` after round ${count(round)}` : ""; }

      take(news) {
        const { points, ...rest } = news;
        if (points) {
          if (points.from < this.rows.length || points.from === 0) this.rows = points.from === 0 ? [] : this.rows.filter((_, k) => k < points.from);
          this.rows.push(...points.rows);
          while (this.rows.length > MOST_ROWS) this.rows = halved(this.rows);
        }
        if (rest.scene) rest.links = rest.links ?? undefined;
        Object.assign(this.now, rest);
        if (!("widths" in news) && (state.links === "none" || state.frame?.playing)) this.now.widths = null;
      }

      get values() {
        if (state.measure === "ages") return this.now.ages;
        return this.now.values?.of?.[state.measure] ?? null;
      }

      paint(range = this.range) {
        const { now } = this;
        this.range = range;
        if (!this.box.isConnected) return;
        const compact = state.branches.size >= COMPACT_FROM && !state.opened.has(this.id);
        this.canvas.hidden = this.scrub.hidden = compact;
        this.small.hidden = !compact;
        this.open.hidden = state.branches.size < COMPACT_FROM;
        this.open.textContent = compact ? "open" : "fold";
        this.box.classList.toggle("chosen", hands && state.branches.size > 1 && state.active === this.id);
        this.box.classList.toggle("past", Boolean(now.past));
        this.title.textContent = now.name;
        this.title.className = `s${this.id % 7}`;
        const pieces = now.pieces > 1 ? `, in ${now.pieces} pieces` : "";
        const seconds = now.seconds === null || now.seconds === undefined ? "" : `, ${draw.number(now.seconds)} s simulated${this.older(now.seconds_round)}`;
        const colors = this.values && state.measure !== "ages" ? this.older(now.values.round) : "";
        this.about.textContent = `${now.past ? "as it was after " : ""}round ${count(now.round)}${seconds}${pieces}: ${now.trouble || (now.scene ? "all is well" : "")}${colors && `; colors as measured${colors}`}${now.ending ? `; ${now.ending}` : ""}`;
        this.about.title = this.about.textContent;  // where there is too little room for it
        if (compact || !now.scene) {
          this.canvas.hidden = this.scrub.hidden = true; this.small.hidden = false;
          draw.curves(this.small, { height: 110, series: [this.series(0)], say: (v) => draw.percent(v, 0) });
          this.small.setAttribute("aria-label", `${now.name}, accuracy: ${this.last("accuracy")}`);
          return;
        }
        this.canvas.setAttribute("aria-label", `network ${now.name}, ${now.scene.name}: ${now.trouble || "all is well"}; arrows go through clients and links${hands ? ", Enter acts" : ""}`);
        this.fit = draw.network(this.canvas, { ...now, values: this.values, range, widths: hands ? now.widths : state.links === "bytes" ? now.traffic : null, chosen: this.chosen, rope: this.rope });
        const { moments = [] } = now;
        this.scrub.hidden = !moments.length || !together.hidden;
        this.slider.max = moments.length;
        if (document.activeElement !== this.slider) this.slider.value = now.past ? moments.indexOf(now.round) : moments.length;
        this.slider.title = `${moments.length} moments are kept, ${count(now.every ?? 1)} rounds apart`;
        this.at.textContent = now.past ? `round ${count(now.round)}` : `now (${moments.length} kept)`;
        this.slider.setAttribute("aria-valuetext", this.at.textContent);
        if (hands) { this.now_.hidden = !now.past; this.back.hidden = !now.past; }
      }

      last(what) {
        const row = [...this.rows].reverse().find((one) => one[POINT[what]] !== null);
        return row ? `${draw.say(what, row[POINT[what]])}${this.older(row[POINT.round])}` : "not measured";
      }

      color() { return getComputedStyle(this.box).getPropertyValue(`--s${this.id % 7}`).trim() || "#0072b2"; }

      series(order, what = "accuracy") {
        const x = POINT[state.axis], y = POINT[what];
        return { name: state.branches.size > 1 ? this.now.name : "", color: this.color(), dash: DASHES[order % 4], points: this.rows.map((row) => [row[x], row[y]]) };
      }
    }

    const choose = (id) => {
      if (state.active === id) return;
      state.active = id;
      for (const card of state.branches.values()) card.box.classList.toggle("chosen", hands && state.branches.size > 1 && card.id === id);
      paintPanel();
      announceChosen();
    };
    const announceChosen = () => { said.textContent = `network ${state.branches.get(state.active)?.now.name} is chosen`; };

    // The menu of a client
    const closeMenu = () => { menu.hidden = true; menu.replaceChildren(); };
    const openMenu = (card, client, event) => {
      const { now } = card, name = draw.called(now.scene, client);
      closeMenu();
      element(menu, "p", { class: "muted" }, `client ${name}`);
      const item = (text, click) => element(menu, "button", {
        type: "button", role: "menuitem", tabindex: -1,
        onclick: () => { closeMenu(); card.canvas.focus(); click(); },
      }, text);
      if (now.absent.includes(client)) {
        for (const [how, text] of Object.entries(RETURNS)) item(`Return ${text}`, () => act("restore_clients", { clients: [client], how }));
      } else {
        item("Leave", () => act("drop_clients", { clients: [client] }));
        for (const speed of now.settings?.clock ? [0.1, 0.5, 1] : []) {
          item(speed === 1 ? "Compute at full speed" : `Slow down to ${draw.number(100 * speed)} %`, () => send({ do: "slow", branch: card.id, client, speed }));
        }
        if (now.liars.includes(client)) item("Be honest again", () => act("stop_attack", { clients: [client] }));
        else for (const how of attacks) item(`Lie: ${how}`, () => act("attack", { who: [client], how }));
      }
      const others = now.scene.clients <= 400 ? [...Array(now.scene.clients).keys()].filter((other) => other !== client) : [];
      if (others.length) {
        const box = element(menu, "label", { class: "field" }, "new link to ");
        const list = element(box, "select", { "aria-label": `new link from ${name} to` });
        element(list, "option", { value: "" }, "…");
        for (const other of others) element(list, "option", { value: other }, draw.called(now.scene, other));
        list.addEventListener("change", () => { closeMenu(); card.canvas.focus(); act("add_links", { links: [[client, Number(list.value)]] }); });
      }
      menu.hidden = false;
      const box = root.getBoundingClientRect(), canvas = card.canvas.getBoundingClientRect();
      const [x, y] = event ? [event.clientX, event.clientY] : [canvas.left + 40, canvas.top + 40];
      menu.style.left = `${Math.max(4, Math.min(x - box.left + 8, box.width - menu.offsetWidth - 4))}px`;
      menu.style.top = `${y - box.top + 8}px`;
      menu.querySelector("[role=menuitem]").focus({ preventScroll: true });
    };
    menu.addEventListener("keydown", (event) => {
      const items = [...menu.querySelectorAll("[role=menuitem], select")], at = items.indexOf(document.activeElement);
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") { closeMenu(); state.branches.get(state.active)?.canvas.focus(); }
      else if (step && document.activeElement.tagName !== "SELECT") { items[(at + step + items.length) % items.length].focus(); event.preventDefault(); }
      event.stopPropagation();
    });
    const outside = (event) => { if (!menu.hidden && !menu.contains(event.target) && event.target.tagName !== "CANVAS") closeMenu(); };
    document.addEventListener("pointerdown", outside);

    // The panel: what holds for a whole network
    const fields = {};
    if (hands) {
      const slider = (name, label, min, max, step, change, read = Number) => {
        const box = element(panel, "label", { class: "field" }, `${label} `);
        const input = element(box, "input", { type: "range", min, max, step, "aria-label": label });
        const output = element(box, "output");
        input.addEventListener("input", () => { output.textContent = draw.number(read(input.value)); input.setAttribute("aria-valuetext", output.textContent); });
        input.addEventListener("change", () => change(read(input.value)));
        fields[name] = { input, output, read };
      };
      const power = (value) => Number((10 ** Number(value)).toPrecision(2));
      slider("lr", "step size", -4, 1, 0.05, (lr) => act("set_lr", { lr }), power);
      slider("loss", "messages lost", 0, 1, 0.05, (loss) => act("set_impairments", { loss }));
      slider("delay", "messages late, rounds", 0, 10, 1, (delay) => act("set_impairments", { delay }));
      const network = element(panel, "label", { class: "field" }, "network ");
      const known = `topologies-${Math.random().toString(36).slice(2)}`;
      fields.topology = element(network, "input", { list: known, size: 14, "aria-label": "another network", onchange: () => act("set_topology", { topology: fields.topology.value.trim() }) });
      const list = element(network, "datalist", { id: known });
      for (const name of topologies) element(list, "option", { value: name });
      const params = select(panel, "parameter", {}, () => paintParameter());
      params.list.setAttribute("aria-label", "parameter");
      fields.param = params;
      fields.value = element(params.list.parentNode, "input", { size: 6, "aria-label": "its value", onchange: () => {
        const text = fields.value.value.trim(), value = Number(text);
        act("set_algorithm_params", { [params.list.value]: text !== "" && !Number.isNaN(value) ? value : text });
      } });
      const save = element(panel, "span", { class: "field" });
      fields.path = element(save, "input", { value: "recipe.yaml", size: 16, "aria-label": "file of the recipe" });
      tools.save = button(save, "Save as recipe", "s", "write all that was done as a recipe", () => send({ do: "save", branch: state.active, path: fields.path.value.trim() }));
    }
    const paintParameter = () => {
      const { settings } = state.branches.get(state.active)?.now ?? {};
      if (settings && document.activeElement !== fields.value) fields.value.value = settings.params[fields.param.list.value] ?? "";
    };
    const paintPanel = () => {
      const { settings } = state.branches.get(state.active)?.now ?? {};
      if (!hands || !settings) return;
      const set = (name, value, shown) => {
        const { input, output } = fields[name];
        if (document.activeElement !== input || !input.matches(":active")) { input.value = shown; output.textContent = draw.number(value); input.setAttribute("aria-valuetext", output.textContent); }
      };
      set("lr", settings.lr, Math.log10(settings.lr || 1e-4));
      set("loss", settings.loss, settings.loss);
      set("delay", settings.delay, settings.delay);
      if (document.activeElement !== fields.topology) fields.topology.value = settings.topology;
      fields.param.fill(Object.fromEntries(Object.keys(settings.params).map((name) => [name, name])));
      paintParameter();
    };

    // Curves of all networks, and how they differ from the first one
    const chartOf = (name, note) => {
      const figure = element(charts, "figure");
      const caption = element(figure, "figcaption");
      element(caption, "b", {}, name); element(caption, "span", { class: "muted" }, ` ${note}`);
      return { figure, canvas: element(figure, "canvas", { role: "img" }) };
    };
    const plots = {
      accuracy: chartOf("Test accuracy", "mean, ± deviation, worst client (thin)"),
      loss: chartOf("Training loss", "mean over clients"),
      consensus: chartOf("Consensus distance", "mean ‖xᵢ − x̄‖²"),
      difference: chartOf("Difference in accuracy", "to the first network, in points"),
    };
    const paintCharts = () => {
      const cards = [...state.branches.values()], x = POINT[state.axis];
      const compact = cards.length >= COMPACT_FROM;
      charts.hidden = !curves || (compact && !state.opened.size);
      if (charts.hidden) return;
      const shown = compact ? cards.filter((card) => state.opened.has(card.id)) : cards;
      if (!shown.length) return;
      const xSay = state.axis === "bytes" ? draw.bytes : draw.number;
      const marks = shown.flatMap((card) => (card.now.events ?? []).map(([round]) => ({ color: card.color(), x: atRound(card, round, x) })));
      const past = shown.find((card) => card.now.past);
      const at = past ? atRound(past, past.now.round, x) : null;
      const until = shown.reduce((most, card) => Math.max(most, card.rows.at(-1)?.[x] ?? 0), 0);
      const accuracy = shown.flatMap((card, k) => {
        const main = card.series(k), rows = card.rows.filter((row) => row[POINT.accuracy] !== null);
        const worst = { ...main, thin: true, dash: [], points: rows.map((row) => [row[x], row[POINT.worst]]) };
        const band = rows.map((row) => [row[x], row[POINT.accuracy] - row[POINT.std], row[POINT.accuracy] + row[POINT.std]]);
        return shown.length > 2 ? [main] : [worst, { ...main, band }];
      });
      const heights = accuracy.flatMap((one) => one.points.map(([, y]) => y)).filter((y) => y !== null);
      const digits = heights.reduce((a, b) => Math.max(a, b), 0) - heights.reduce((a, b) => Math.min(a, b), 1) < 0.04 ? 1 : 0;
      draw.curves(plots.accuracy.canvas, { series: accuracy, marks, at, until, xSay, say: (v) => draw.percent(v, digits) });
      for (const what of ["loss", "consensus"]) {
        draw.curves(plots[what].canvas, { series: shown.map((card, k) => card.series(k, what)), marks, at, until, xSay, say: draw.number, zero: true });
      }
      for (const [what, plot] of Object.entries(plots)) {
        plot.canvas.setAttribute("aria-label", shown.map((card) => `${card.now.name}: ${card.last(what === "difference" ? "accuracy" : what)}`).join("; "));
      }
      plots.difference.figure.hidden = shown.length < 2;
      if (shown.length > 1) {
        const [first, ...others] = shown, by = new Map(first.rows.map((row) => [row[0], row[POINT.accuracy]]));
        const series = others.map((card, k) => ({
          name: card.now.name, color: card.color(), dash: DASHES[(k + 1) % 4],
          points: card.rows.filter((row) => row[POINT.accuracy] !== null && (by.get(row[0]) ?? null) !== null).map((row) => [row[x], row[POINT.accuracy] - by.get(row[0])]),
        }));
        draw.curves(plots.difference.canvas, { series, marks, at, until, xSay, zero: true, say: (v) => (100 * v).toFixed(1) });
      }
    };
    const atRound = (card, round, x) => {
      if (x === 0) return round;
      const row = card.rows.find((one) => one[0] >= round) ?? card.rows.at(-1);
      return row ? row[x] : null;
    };

    // What was done to each, and what sets a fork apart
    const paintStory = () => {
      story.replaceChildren();
      const cards = [...state.branches.values()], first = cards[0];
      if (!curves || cards.length >= COMPACT_FROM) return;
      const known = new Set((first?.now.events ?? []).map(String));
      for (const card of cards) {
        const events = (card.now.events ?? []).filter((event) => card === first || !known.has(String(event)));
        if (!events.length) continue;
        const box = element(story, "details", { open: events.length <= 6 });
        element(box, "summary", {}, card === first ? `What was done to ${card.now.name}` : `What sets ${card.now.name} apart from ${first.now.name}`);
        const list = element(box, "ol");
        for (const [round, what] of events.slice(-30)) element(list, "li", {}, `after round ${count(round)}: ${what}`);
      }
    };

    const lookTogether = () => {
      const moments = everyMoment(), at = Number(shared.value), last = at >= moments.length - 1;
      sharedAt.textContent = `round ${count(moments[at] ?? 0)}`;
      clearTimeout(shared.wait);
      shared.wait = setTimeout(() => send({ do: "look", branch: null, round: last ? null : moments[at] }), 40);
    };
    const everyMoment = () => [...new Set([...state.branches.values()].flatMap((card) => card.now.moments ?? []))].sort((a, b) => a - b);

    const paint = () => {
      const cards = [...state.branches.values()];
      const measures = Object.assign({}, ...cards.map((card) => card.now.measures ?? {}));
      if (cards.some((card) => card.now.ages)) measures.ages = "age of the news, rounds";
      if (!Object.keys(measures).length) measures.test_accuracy = "accuracy";
      colored.fill(measures);
      colored.list.value = state.wanted in measures ? state.wanted : Object.keys(measures)[0];
      state.measure = colored.list.value;
      const axes = { round: AXES.round, bytes: AXES.bytes };
      if (cards.some((card) => card.now.seconds !== null && card.now.seconds !== undefined)) axes.seconds = AXES.seconds;
      against.fill(axes);
      if (!hands) {  // what went over links is known of runs with a clock, as they are now
        wide.fill({ none: "alike", bytes: "by bytes" });
        wide.list.parentNode.hidden = !cards.some((card) => card.now.traffic);
      }
      const range = draw.rangeOf(state.measure, cards.map((card) => card.values ?? []));
      board.style.setProperty("--networks", Math.min(cards.length, 2));
      board.classList.toggle("compact", cards.length >= COMPACT_FROM);
      together.hidden = hands || everyMoment().length < 2;
      if (!together.hidden && document.activeElement !== shared) {
        const moments = everyMoment(), past = cards.find((card) => card.now.past);
        shared.max = moments.length - 1;
        shared.value = past ? moments.indexOf(past.now.round) : moments.length - 1;
        sharedAt.textContent = past ? `round ${count(past.now.round)}` : "now";
      }
      for (const card of cards) card.paint(range);
      paintScale(range, cards.find((card) => card.now.scene)?.now.scene.colors, measures[state.measure]);
      paintCharts();
    };
    const paintScale = (range, colors, title) => {
      scale.replaceChildren();
      if (!range || !colors) return;
      element(scale, "span", {}, draw.say(state.measure, range[0]));
      element(scale, "i", { style: `background:linear-gradient(to right, ${colors.join(", ")})` });
      element(scale, "span", {}, draw.say(state.measure, range[1]));
      element(scale, "span", { class: "muted" }, `${title}, by client; dashed ring: has left; square: lies; dashed red line: cut`);
    };

    const say = (sentence, wrong) => { status.textContent = sentence; status.classList.toggle("wrong", Boolean(wrong)); };

    const take = (frame) => {
      if (state.frame?.playing) state.longest = Math.max(state.longest, Date.now() - state.heard);
      state.frame = frame; state.asked = null; state.heard = Date.now();
      const there = new Set(frame.branches.map((branch) => branch.id));
      for (const [id, card] of state.branches) if (!there.has(id)) { card.box.remove(); state.branches.delete(id); }
      for (const news of frame.branches) {
        if (!state.branches.has(news.id) && news.round === undefined) continue;  // of what is not seen yet
        if (!state.branches.has(news.id)) state.branches.set(news.id, new Card(news.id));
        state.branches.get(news.id).take(news);
      }
      if (!state.branches.has(state.active)) state.active = frame.branches[0]?.id ?? null;
      if (hands && frame.links !== state.shared) {  // one choice for all views, whichever made it
        state.shared = state.links = wide.list.value = frame.links;
      }
      if (hands) {
        tools.play.textContent = frame.playing ? "❚❚ Pause" : "▶ Play";
        tools.play.setAttribute("aria-label", frame.playing ? "pause" : "play to the end");
        tools.play.title = `${frame.playing ? "pause" : `play to round ${count(frame.planned)}, or as long again`} (Space)`;
      }
      const going = frame.playing ? `plays to round ${count(frame.until)}` : "";
      say(frame.sentence || going, frame.wrong);
      paint();
      paintPanel();
      if (frame.branches.some((news) => news.events)) {
        paintStory();
        const card = state.branches.get(state.active);
        if (card?.chosen.link || card?.chosen.client !== undefined) said.textContent = card.describe(card.chosen);
      }
    };

    // Keys, wherever the focus is inside; not while something is typed
    const KEYS = {
      " ": toggle, ".": () => send({ do: "play", rounds: 1 }), n: playSome,
      f: () => send({ do: "fork", branch: state.active }), u: () => send({ do: "undo", branch: state.active }),
      b: () => state.branches.get(state.active)?.goBack(), s: () => tools.save.click(),
    };
    root.addEventListener("keydown", (event) => {
      if (!hands || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.matches("input:not([type=range]), select, textarea")) return;
      if (event.key === " " && event.target.matches("button, summary")) return;
      const todo = KEYS[event.key];
      if (!todo) return;
      event.preventDefault(); event.stopPropagation();
      todo();
    });

    const afterRestart = () => {
      const kept = state.frame?.restoring ?? [];
      return kept.length ? `After a restart go on with ${kept.join(" or ")}` : "Nothing is kept for after a restart; control(folder=\"room\") would do so.";
    };
    const patience = hands ? setInterval(() => {
      const silent = state.frame?.playing ? Date.now() - state.heard : 0;
      if (state.asked && Date.now() - state.asked > 1000 * SECONDS_OF_PATIENCE) {
        say(`The kernel has not answered: it is busy with another cell, or gone. ${afterRestart()}`, true);
      } else if (silent > Math.max(1000 * SECONDS_OF_SILENCE, 5 * state.longest)) {
        say(`No news for ${Math.round(silent / 1000)} s: a round takes long, or the kernel is gone. ${afterRestart()}`, true);
      }
    }, 1000) : null;
    const repaint = () => requestAnimationFrame(paint);
    const sizes = new ResizeObserver(repaint);
    sizes.observe(root);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", repaint);
    const themes = new MutationObserver(repaint);  // a notebook says dark or light on its body
    themes.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-theme"] });

    port.listen(take);
    port.send?.({ do: "hello" });
    return () => {
      clearInterval(patience); sizes.disconnect(); themes.disconnect();
      dark.removeEventListener("change", repaint);
      document.removeEventListener("pointerdown", outside);
      window.removeEventListener("keydown", ownKeys, true);
    };
  };

  return { mount };
})();
