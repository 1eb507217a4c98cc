"""The models of a run, from its last checkpoint, as modules."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError, notice
from p2pqg.base.text import typed
from p2pqg.base.user_code import GIVEN
from p2pqg.models import Blueprint, encoder_of
from p2pqg.models._blueprint import load_into
from p2pqg.models._keeping import letters_of_fixed
from p2pqg.models.stacked.stacked import PRECISIONS, Stacked
from p2pqg.network.clients import Clients
from p2pqg.recipe import own_files
from p2pqg.recipe.learning import sizes_of
from p2pqg.recipe.parts import blueprint_of, model_called
from p2pqg.recipe.settings import chosen, read_config
from p2pqg.results.checkpoint import CHECKPOINTS, Checkpoint, newest, read_checkpoint

AVERAGED = "averaged"


@dataclass(frozen=True)
class Kept:
    """What a run kept of its models.

    Attributes:
        path: of the run.
        checkpoint: its last one that is whole.
        settings: its recipe; the user's files are those that it has copies of.
    """

    path: Path
    checkpoint: Checkpoint
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path) -> Kept:
        """What the run in a directory has kept.

        Raises:
            ConfigError: there is none, it kept no checkpoint, or none can be read.
        """
        folder, problems = path / CHECKPOINTS, list[str]()
        for candidate in newest(folder):
            try:
                checkpoint = read_checkpoint(candidate)
            except ConfigError as error:
                problems.append(str(error))
                continue
            for problem in problems:
                notice(f"{problem}; using {candidate.name}")
            saved = checkpoint.header["config"]
            home = path if (path / own_files.FOLDER).is_dir() else candidate
            return cls(path, checkpoint, {**saved, **own_files.from_copies(saved, home)})
        if problems:
            raise ConfigError.of(problems)
        if not (path / "config.yaml").exists():
            if inside := sorted(path.glob("*/config.yaml")):
                raise ConfigError(
                    f"{path} holds several runs; name one, such as {inside[0].parent}"
                )
            raise ConfigError(f"{path}: no run here (config.yaml is missing)")
        raise ConfigError(
            f"{path}: this run kept no checkpoint, and so no models; run it again with "
            "checkpoint_every above 0, seconds, which keeps one at the end, too"
        )

    @property
    def num_clients(self) -> int:
        return len(self.rows)

    @cached_property
    def rows(self) -> Tensor:
        """[clients, params]."""
        arrays = self.checkpoint.arrays
        row = self.checkpoint.header.get("model", {}).get("row", "rows.state.x")
        if row not in arrays:
            raise ConfigError(
                f"{self.path}: an older p2pqg wrote its checkpoint, and did not say where the "
                f"models are in it; `p2pqg resume {typed(self.path)}` for a round more"
            )
        return torch.from_numpy(np.asarray(arrays[row]))

    @cached_property
    def buffers(self) -> Tensor:
        """[clients, buffers]."""
        return torch.from_numpy(np.asarray(self.checkpoint.arrays["rows.buffers"]))

    @cached_property
    def sizes(self) -> tuple[int, tuple[int, ...]]:
        """Numbers that the model returns for a sample, and the shape of one."""
        about = self.checkpoint.header.get("model")
        if about is None:  # of a time when checkpoints did not say it: the data tell
            return sizes_of(read_config(dict(self.settings)))
        return about["outputs"], tuple(about["input_shape"])

    @property
    def sizes_of_file(self) -> tuple[int, tuple[int, ...]]:
        """`sizes` of a file: in it the frozen layers are there, too, and a model reads tokens."""
        outputs, shape = self.sizes
        return outputs, shape[:1] if self.encoder else shape

    @cached_property
    def blueprint(self) -> Blueprint:
        """How the model is built."""
        name, given = chosen(self.settings["model"], "")
        if name.startswith(GIVEN):
            what = bare(name).removeprefix(GIVEN)
            raise ConfigError(
                f"{self.path}: model was an object of Python ({what}), which a "
                f"run cannot keep; give it again: p2pqg.Simulation.restore({str(self.path)!r}, "
                "model=...) has state(client)"
            )
        return blueprint_of(model_called(name, given))

    @cached_property
    def template(self) -> nn.Module:
        """A module as all of them are."""
        self._check_frozen()
        module = self.blueprint.build(*self.sizes_of_file, self.settings["seed"])
        known = (self.checkpoint.header.get("model") or {}).get("fixed")
        dtype = PRECISIONS[self.settings.get("precision", "float32")][0]
        if known and known != letters_of_fixed(module, dtype):
            notice(
                f"{self.path}: what is frozen in model {self.blueprint.name} is not, to the last "
                "bit, what its models were trained with; if its code reads a file, put that back"
            )
        return module

    @cached_property
    def encoder(self) -> Any:
        """The frozen layers, if the model has some."""
        blueprint = self.blueprint
        return None if blueprint.is_own else encoder_of(blueprint.name, blueprint.params)

    @property
    def network(self) -> Any:
        """The module of transformers, if the model is one of theirs."""
        return None if self.blueprint.is_own else getattr(self.template, "network", None)

    def _check_frozen(self) -> None:
        """ConfigError where the frozen layers are others by now: the models were not made above."""
        known = self.checkpoint.header.get("model", {}).get("frozen", "")
        if known and known != self.encoder.key:
            raise ConfigError(
                f"{self.path}: the frozen layers at model.path ({self.encoder.path}) are not "
                "those that its models were trained above; put those back there"
            )

    @cached_property
    def stacked(self) -> Stacked:
        """Rows <-> tensors by name."""
        precision = self.settings.get("precision", "float32")
        stacked = Stacked(self.template, precision=precision, strategy="loop")
        if (stacked.num_params, stacked.num_buffers) != (self.rows.shape[1], self.buffers.shape[1]):
            raise ConfigError(
                f"{self.path}: model {self.blueprint.name} has {stacked.num_params:,} parameters "
                f"now, those of the run {self.rows.shape[1]:,}; take the version that wrote it"
            )
        return stacked

    def number(self, client: Any) -> int:
        """The client of that number or name."""
        labels = self.checkpoint.header["network"]["topology"].get("labels", ())
        return Clients(self.num_clients, tuple(labels)).number(client, "client")

    @property
    def averaged(self) -> tuple[Tensor, Tensor]:
        """Means of parameters and buffers over the clients that are present.

        They are added up block by block, as the hosts did: the last digit depends on that.
        """
        here = torch.ones(self.num_clients, dtype=torch.bool)
        here[self.checkpoint.header["network"]["absent"]] = False
        firsts = np.sort(np.asarray(self.checkpoint.arrays["firsts"])).tolist()
        blocks = [slice(*ends) for ends in zip(firsts, [*firsts[1:], len(here)], strict=True)]

        def mean(rows: Tensor) -> Tensor:
            sums = [rows[block][here[block]].sum(0) for block in blocks]
            return torch.stack(sums).sum(0) / int(here.sum())

        return mean(self.rows), mean(self.buffers)

    def state_dict(self, client: Any) -> dict[str, Tensor]:
        """Name -> tensor, parameters and buffers; client: as of `Run.model`.

        All buffers, persistent or not: a model has no accuracy without them.
        """
        row, buffers = self._row(client)
        return self.stacked.state_dict(row, buffers) | self.stacked.unsaved(buffers)

    def _row(self, client: Any) -> tuple[Tensor, Tensor]:
        if isinstance(client, str) and client == AVERAGED:
            return self.averaged
        number = self.number(client)
        return self.rows[number], self.buffers[number]

    def module(self, client: Any) -> nn.Module:
        """A client's model, or the averaged one, in evaluation mode."""
        state = self.state_dict(client)
        module = copy.deepcopy(self.template).to(dtype=self.stacked.dtype)
        buffers = dict(module.named_buffers())
        for name in self.unsaved:
            buffers[name].copy_(state.pop(name))
        load_into(module, state)
        return module.eval()

    @property
    def unsaved(self) -> list[str]:
        """Names of the buffers that are not persistent."""
        return list(self.stacked.unsaved(self.buffers[0]))
