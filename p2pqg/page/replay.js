// The slider through the rounds in a report: all that it shows is in the page.
(() => {
  const place = document.getElementById("replay"), runs = JSON.parse(document.getElementById("replays").textContent);
  if (!runs.length) return;
  place.hidden = false;
  let show = () => {};
  const frameAt = (round) => runs.map(({ now, past }) => {
    const before = past.filter((frame) => round !== null && frame.round <= round).at(-1) ?? past[0];
    return round === null ? now : { scene: now.scene, ...before };
  });
  const tell = (round) => show({ playing: false, until: null, planned: null, sentence: "", wrong: false, branches: frameAt(round) });
  p2pqgRoom.mount(place.querySelector("div"), {
    listen: (listener) => { show = listener; },
    send: (message) => { if (message.do === "look") tell(message.round); },
  }, { hands: false, curves: false });
  tell(null);
})();
