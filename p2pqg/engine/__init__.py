"""Rounds: how an algorithm is carried out on blocks of clients, in one process or in many.

    driver.py    leads an engine through the rounds; `bookkeeping.py` makes rows of results of it:
                 consensus distance, the averaged model's accuracy; a divergence ends the run there
    local.py     the engine in this process, of which it borrows threads and switches of torch
                 (guest.py); `on_ray/` is that on actors
    host.py      k clients of a process: their `block.py` plays rounds, their `learner.py` has
                 gradients (with weight decay, clipped and noisy where they are private), their
                 `judge.py` says how they do on the test set; feeds.py has their batches, noise.py
                 the noise
    rule.py      an algorithm with its parameters; `call.py` is one round of it
    scouting.py  what it will ask of the network, tried on no clients (habits.py: in rounds to come;
                 few_clients.py: where only values tell); suits.py: whether it works with one
    answers.py   what a block replies when the algorithm asks something of the network
    routes.py    which rows go where: W cut along the borders of the blocks

What becomes of rows: `mixer.py`; with rules of gossip `robust.py`, inboxes being looked at together
(`inbox_groups.py`), weighed (`weighing.py`, `distances.py`) or trimmed (`trimming.py`, `middle.py`,
`compiled.py`), and beforehand found to be large enough (`inboxes.py`); with liars `lying.py`. Many
clients play part by part: `parts.py`, `forget.py`.
What is between two rounds: `snapshot.py`; what hosts are told: `spec.py`; what stays at home:
`personal.py`. Where clients live: `placement.py`, `machine.py`, `cards.py`, `mps.py`. Bytes of a
round: `traffic.py`. Time: `outlook.py` (simulated), `clock.py` (ours). Ctrl-C: `interrupts.py`.

Clients that do not wait for each other are in `waves/`.
"""
