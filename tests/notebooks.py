"""Executes notebooks from top to bottom and stores them with their outputs.

python tests/notebooks.py [runs/notebooks/01-first-steps.ipynb ...]: all of them, if none is named.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parents[1] / "runs" / "notebooks"


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def fingerprint(notebook):
    """Of the code: outputs that are stored with another one are those of something else."""
    return hashlib.sha256("\n\n".join(cell.source for cell in code(notebook)).encode()).hexdigest()


def executed(notebook, folder, last=""):
    """The notebook with what its cells show when they run in an empty folder.

    Args:
        notebook: changed in place.
        folder: where it runs; paths below it are shown as from there. What cells write to stderr
            is dropped.
        last: code that runs at the end and is not kept.

    Raises:
        CellExecutionError: a cell fails, or the code at the end.
    """
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    notebook.cells.pop()
    for cell in code(notebook):
        text = nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))
        for way in {str(folder), str(Path(folder).resolve())}:
            text = text.replace(f"{way}/", "")
        outputs = nbformat.reads(text, as_version=4).cells[0].outputs
        for output in outputs:  # a widget needs a kernel; what is shown without one stays
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        # What packages say of this installation is of no interest on another.
        cell.outputs = [output for output in outputs if output.get("name") != "stderr"]
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
        "p2pqg": {"code": fingerprint(notebook)},
    }
    return notebook


def main(paths):
    for path in [Path(path) for path in paths] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(read(path), folder)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
