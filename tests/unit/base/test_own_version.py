"""Which p2pqg this is, also where nobody has installed it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import p2pqg
from p2pqg.base.own_version import UNKNOWN, own_version


def test_an_installed_one_has_a_version():
    assert p2pqg.__version__ == own_version() != UNKNOWN


def test_one_that_is_only_unpacked_says_so(tmp_path):
    """As on a machine that is lent for minutes: a folder on PYTHONPATH, and no installation."""
    home = Path(p2pqg.__file__).parent
    (tmp_path / "p2pqg" / "base").mkdir(parents=True)
    for name in ("__init__.py", "base/__init__.py", "base/own_version.py"):
        shutil.copy(home / name, tmp_path / "p2pqg" / name)
    code = "import p2pqg; print(p2pqg.__version__)"
    command = [sys.executable, "-S", "-c", code]  # -S: without site-packages
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,  # a checkout that is installed from has metadata beside it
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == UNKNOWN
