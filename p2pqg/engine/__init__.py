"""Rounds: how an algorithm is carried out on blocks of clients, in one process or in many.

`driver.py` leads the rounds, `host.py` and `block.py` hold clients and play them, `rule.py` is an
algorithm with its parameters, `routes.py` says which rows go where; `local.py` runs it all in this
process, `on_ray/` on actors.
"""
