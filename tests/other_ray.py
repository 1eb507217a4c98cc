"""Run the tests that Ray matters to on another version of it, by default the oldest supported one.

    python tests/other_ray.py [2.56.0] [-- words for pytest]

Makes a virtual environment in a temporary folder, with that Ray and all else from the environment
that runs this (2 minutes and 300 MB). After it has passed, add the version to those in setup.cfg.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

HOUSE = Path(__file__).parents[1]
TESTS = [
    "tests/unit/engine/on_ray",
    "tests/end_to_end/test_closed_to_others.py",
    "tests/end_to_end/test_joined_cluster.py",
    "tests/end_to_end/test_own_ray.py",
    "tests/end_to_end/test_ray_engine.py",
    "tests/end_to_end/test_recovery.py",
]

NOT_OURS = [
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
]
"""Warnings that an older Ray itself gives rise to: files and processes that it leaves to Python."""


def oldest() -> str:
    """The version of Ray that setup.cfg asks for at least."""
    config = configparser.ConfigParser()
    config.read(HOUSE / "setup.cfg")
    wanted = config["options"]["install_requires"]
    (version,) = re.findall(r"^ray>=([\d.]+)$", wanted, re.MULTILINE)
    return version if version.count(".") == 2 else f"{version}.0"


def main() -> int:
    """Install and test; pytest's exit code."""
    words = sys.argv[1:]
    version = words.pop(0) if words and words[0][0].isdigit() else oldest()
    more = words[1:] if words[:1] == ["--"] else []
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", f"ray=={version}"], check=True)
        ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        packages = subprocess.check_output(ask, text=True).strip()
        (Path(packages) / "zz-all-else.pth").write_text(sysconfig.get_path("purelib"))
        found = subprocess.check_output([python, "-c", "import ray; print(ray.__version__)"])
        print("Ray", found.decode().strip(), flush=True)
        ignored = [word for what in NOT_OURS for word in ("-W", what)]
        command = [python, "-m", "pytest", *ignored, *(more or TESTS)]
        return subprocess.run(command, cwd=HOUSE).returncode


if __name__ == "__main__":
    sys.exit(main())
