"""The engine on Ray actors: the only room that imports ray.

`engine.py` is the driver's side of it, `actors.py` the actors', a thin shell around a host;
`actor_group.py` starts, forks and ends them, `failures.py` finds out why one did not answer;
`cluster.py` starts, joins and shares Ray; `own_folder.py` and `keeper.py` are the folder and the
thread of a Ray of our own; `pulse.py` notices that a joined one is gone;
`transport.py` is Ray's direct transport; `carry.py` takes a user's own algorithm to the actors.
What is private in Ray, which a new version may change, is in `private_ray.py`, and in `lean.py`
what ours starts without, or with agents that wake up when they are called (`_sleeping_agent.py`);
`meanwhile.py` sets for a while what both of them change. `forking.py` has actors forked from a
process that has torch (`_fork_server.py`), by what Ray starts in their place (`_forked_worker.py`).
"""
