"""Rounds: how an algorithm is carried out on blocks of clients, in one process or in many.

`driver.py` leads the rounds; `host.py` holds clients and measures them, their `block.py` plays the
rounds, and `answers.py` is what it replies when the algorithm asks something of the network.
`rule.py` is an algorithm with its parameters, `call.py` one round of it; `routes.py` says which
rows go where, `mixer.py` and `robust.py` (rules of gossip) what becomes of them, `lying.py` who
lies.
`learner.py` computes gradients and evaluates, `bookkeeping.py` makes rows of results of it,
`snapshot.py` is what clients carry on; `placement.py` packs them into processes.

`local.py` runs it all in this process, `on_ray/` on actors; `waves/` are clients that do not wait.
"""
