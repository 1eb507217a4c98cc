"""What the process of `p2pqg run` does not need, it does not load."""

import subprocess
import sys

RUN = """
import sys
from p2pqg.cli import main
words = "run --topology ring4 --rounds 3 --set model.hidden=[8] --device cpu --quiet".split()
main([*words, "--out", sys.argv[1]], standalone_mode=False)
print(sorted({"torch", "torchvision"} & sys.modules.keys()))
"""


def test_with_one_actor_the_driver_needs_no_torch(tmp_path):
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stderr == ""
    assert ran.stdout == "[]\n"
