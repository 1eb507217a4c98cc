// The page of `p2pqg watch`: asks its own server for news, and shows it as the control room does.
(() => {
  const SECONDS = 1;
  const listeners = [], known = new Map();  // run -> {rows, version}
  let look = null, opened = [], timer = null, again = false, busy = false;

  const ask = async () => {
    if (busy) { again = true; return; }
    busy = true;
    clearTimeout(timer);
    const have = [...known].map(([id, { rows, version }]) => `${id}:${rows}:${version}`).join(",");
    const query = new URLSearchParams({ have, opened: opened.join(","), ...(look === null ? {} : { round: look }) });
    try {
      const answer = await fetch(`frames?${query}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const frame = await answer.json();
      for (const news of frame.branches) if (news.points) known.set(news.id, { rows: news.points.until, version: news.version });
      listeners.forEach((listener) => listener(frame));
    } catch {
      document.getElementById("lost").hidden = false;
      timer = setTimeout(ask, 5000 * SECONDS);
      busy = false;
      return;
    }
    document.getElementById("lost").hidden = true;
    busy = false;
    if (again) { again = false; ask(); } else timer = setTimeout(ask, 1000 * SECONDS);
  };

  p2pqgRoom.mount(document.getElementById("room"), {
    listen: (listener) => listeners.push(listener),
    open: (ids) => { opened = ids; for (const id of ids) if (known.has(id)) known.get(id).version = ""; ask(); },
    send: (message) => {
      if (message.do !== "look") return;
      look = message.round;
      for (const one of known.values()) one.version = "";  // networks of another time
      ask();
    },
  }, { hands: false });
  ask();
})();
