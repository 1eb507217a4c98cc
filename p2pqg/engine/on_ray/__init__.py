"""The engine on Ray actors: the only room that imports ray.

`actors.py` is a thin shell around a host; `cluster.py` starts, joins and shares Ray; `lean_ray.py`
starts it without its agents; `transport.py` is Ray's direct transport; `carry.py` takes a user's
own algorithm to the actors.
"""
