"""The models of a run as files for plain torch: weights, and the code that builds the module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from p2pqg.base.config import plain
from p2pqg.base.errors import ConfigError
from p2pqg.base.signature import positional
from p2pqg.base.text import write_text
from p2pqg.base.user_code import names_a_file, neighbors
from p2pqg.models._own import GIVEN as TOLD
from p2pqg.models._reading import Reader
from p2pqg.results.models import AVERAGED, Kept

CODE = "code"
"""Folder of the user's own files, beside the models."""
NETWORK = "network.json"
"""How a network of transformers is made, beside the models."""


@dataclass(frozen=True)
class ModelFiles:
    """What is written of the models that a run kept."""

    kept: Kept

    def save(self, out: Path) -> Path:
        """Write all of them, and how they are loaded."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        script = self._script  # what cannot be built is told before anything is written
        try:
            if out.exists() and any(out.iterdir()):
                raise ConfigError(f"{out} has something in it already; choose another folder")
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{out}: cannot be written ({error.strerror or error})") from None
        try:
            for name, client in self.names():
                state = {key: t.contiguous() for key, t in self.kept.state_dict(client).items()}
                save_file(state, out / f"{name}.safetensors", {"format": "pt"})
            for file in neighbors(self.kept.blueprint.entry):
                (out / CODE).mkdir(exist_ok=True)
                (out / CODE / file.name).write_bytes(file.read_bytes())
            if (network := self.kept.network) is not None:
                network.config.to_json_file(out / NETWORK)
            write_text(out / "load.py", script)  # last: where it is, all are
        except BaseException as error:  # Ctrl-C, too
            for made in out.iterdir():  # half of the models look like all of them
                shutil.rmtree(made) if made.is_dir() else made.unlink()
            if not isinstance(error, OSError | SafetensorError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{out}: cannot be written ({reason})") from None
        return out

    def names(self) -> Iterator[tuple[str, int | str]]:
        """What the files are called, without their ending, and whose models are in them."""
        width = len(str(self.kept.num_clients - 1))
        for number in range(self.kept.num_clients):
            yield f"client-{number:0{width}}", number
        yield AVERAGED, AVERAGED

    @property
    def _script(self) -> str:
        header = self.kept.checkpoint.header
        outputs, shape = self.kept.sizes_of_file
        dtype = str(self.kept.stacked.dtype).removeprefix("torch.")
        about = header.get("model") or {}
        kind = "int64 (tokens)" if isinstance(self.kept.template, Reader) else dtype
        looks = f"{kind} [batch, {', '.join(map(str, shape))}]"
        if about.get("mean") is not None:
            looks += f",\nwhich are bytes / 255 less {about['mean']}, over {about['std']}"
        return SCRIPT.format(
            run=self.kept.path.name,
            rounds=header["round"],
            inputs=looks,
            outputs=outputs,
            example=next(self.names())[0],
            imports="import importlib\nimport sys\n" if self.kept.blueprint.is_own else "",
            build=self._own_build if self.kept.blueprint.is_own else self._our_build,
            unsaved=UNSAVED.format(names=self.kept.unsaved) if self.kept.unsaved else "",
        )

    @property
    def _our_build(self) -> str:
        blueprint, (outputs, shape) = self.kept.blueprint, self.kept.sizes_of_file
        params = {name: plain(value) for name, value in vars(blueprint.params).items()}
        given = "".join(f", {name}={value!r}" for name, value in params.items())
        if self.kept.network is not None:  # what is at model.path may become another one, or go
            given = given.replace(f"path={params['path']!r}", f"path=str(HERE / {NETWORK!r})")
        return (
            "    from p2pqg import build_model  # makes a plain module of torch\n\n"
            f"    return build_model({blueprint.name!r}, {outputs}, {shape}{given})"
        )

    @property
    def _own_build(self) -> str:
        blueprint = self.kept.blueprint
        own = getattr(blueprint.entry.build, "__wrapped__", blueprint.entry.build)
        ours = dict(zip(TOLD, self.kept.sizes, strict=True))
        given = {names: ours[its] for names, its in positional(own, TOLD, blueprint.place).items()}
        given |= vars(blueprint.params)
        words = ", ".join(f"{name}={value!r}" for name, value in given.items())
        file = neighbors(blueprint.entry)
        name = blueprint.name
        stem = Path(name.rpartition(":")[0]).stem if names_a_file(name) else file[0].stem
        return OWN_BUILD.format(code=CODE, stem=stem, name=own.__name__, words=words)


SCRIPT = '''"""Models of the run {run} after {rounds} rounds, for torch.

    from load import load
    model = load("{example}")  # or load("averaged"), the mean of all that were present

Inputs: {inputs}. Outputs: {outputs} for each.
"""

{imports}from pathlib import Path

from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent


def build():
{build}


def load(name, folder=HERE):
    """The module with its parameters and buffers, ready for evaluation."""
    state = load_file(folder / f"{{name}}.safetensors")
    model = build().to(dtype=next(t.dtype for t in state.values() if t.is_floating_point()))
{unsaved}    whole = model.state_dict()  # which knows the versions of its parts
    whole.clear()
    whole.update(state)
    model.load_state_dict(whole)
    return model.eval()
'''

OWN_BUILD = """\
    code = HERE / {code!r}
    names = [file.stem for file in code.glob("*.py")]
    others = {{name: sys.modules.pop(name) for name in names if name in sys.modules}}
    sys.path.insert(0, str(code))
    try:
        return importlib.import_module({stem!r}).{name}({words})
    finally:
        sys.modules.update(others)  # of the same names, from elsewhere"""

UNSAVED = """\
    buffers = dict(model.named_buffers())
    for name in {names}:  # not persistent: no state_dict has them
        buffers[name].copy_(state.pop(name))
"""
