"""The control room of a simulation: it plays in the background, is seen, and is told what to do.

`room.py` is what can be asked, `player.py` plays the simulation and its forks, each a `branch.py`
around what is `playable.py`; `moments.py` keeps what one can go back to; `keeper.py` keeps what a
restart of the kernel would take; `frames.py` says what is to be seen; `recipe.py` writes what was
done as a recipe; `widget.py` shows all of it in a notebook. Nothing here knows a widget but the
last one.
"""
