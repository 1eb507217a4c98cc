"""Networks and algorithms without data: own gradients, plain averaging, and the topology doctor.

`trajectories.py` plays any algorithm on a gradient of the caller's, `consensus.py` without one;
`quadratics.py` are problems with known optima. `doctor.py` examines a network, with `liars.py` (how
many it can bear) and `leakage.py` (who learns how much of whom); `doctor_text.py` says what was
found.
"""
