"""Kinds of keys of a recipe: what they decide, when they may differ, how they are told."""

from __future__ import annotations

WHERE = ("engine", "clients_per_actor", "transport", "capture", "device", "data_dir")
"""Where a run computes: the numbers are the same, to rounding."""

CARE = ("address", "checkpoint_every", "max_restarts", "profile")
"""How it is looked after: no number depends on it."""

HOW = WHERE + CARE
"""Where and how a run computes, and not what."""

RESTART = ("rounds", "epochs", "steps", "time", "out", "name", *HOW)
"""What may differ when a run goes on: how long it is, where it goes, and how it computes."""

SELF_EVIDENT = ("algorithm", "topology", "dataset", "model", "partition")
"""Parts of a run: their values speak for themselves in a name."""
