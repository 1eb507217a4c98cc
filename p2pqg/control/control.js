// The widget: an ES module of anywidget. What is drawn is in drawing.js and room.js, before this.
export default {
  render({ model, el }) {
    const room = document.createElement("div"), card = document.createElement("div");
    card.className = "p2pqg-card";  // for paper
    el.append(room, card);
    const listeners = new Set();
    const heard = (message) => listeners.forEach((listener) => listener(message));
    const showCard = () => { card.innerHTML = model.get("card"); };
    model.on("msg:custom", heard);
    model.on("change:card", showCard);
    showCard();
    const leave = p2pqgRoom.mount(
      room,
      { send: (message) => model.send(message), listen: (listener) => listeners.add(listener) },
      { attacks: model.get("attacks"), topologies: model.get("topologies") },
    );
    return () => { leave(); model.off("msg:custom", heard); model.off("change:card", showCard); };
  },
};
