"""Run the notebooks in this folder from top to bottom, and fail where a cell fails.

    python docs/notebooks/run.py     # all of them, as `make notebooks` does
    python docs/notebooks/run.py masks.ipynb --write     # keep what it shows

They run in an empty folder on the CPU, and need no network.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
MOST_BYTES = 300_000  # of a notebook with its outputs
ARGUMENTS = ["--InlineBackend.figure_formats=['svg']"]  # sharp, and small
ARGUMENTS += ["--IPKernelApp.log_level=40"]  # errors; not that it listens on a port
SETTINGS = {"JAX_PLATFORMS": "cpu", "TQDM_DISABLE": "1"}


def run(path: Path, *, write: bool) -> None:
    """Run one notebook; errors of its cells are raised with the cell."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook,
            timeout=600,
            startup_timeout=600,
            resources=resources,
            extra_arguments=ARGUMENTS,
        )
        client.execute()
    print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    if write:
        text = nbformat.writes(_clean(notebook))
        if len(text) > MOST_BYTES:
            raise SystemExit(f"{path.name} has {len(text):,} bytes; keep less output")
        path.write_text(text + "\n", encoding="utf-8")


def _clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what differs from one run, or one machine, to the next."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i}", {}
        if cell.cell_type != "code":
            continue
        cell.outputs = _joined(cell.outputs)
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/svg+xml" in data:  # of figures the text is only their address
                data["text/plain"] = "a figure"
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Without what went to stderr, and what was printed in one piece."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        printed = output.output_type == "stream"
        if printed and output.name == "stderr":
            continue
        if printed and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", help="names; by default all")
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    options = parser.parse_args()
    os.environ.update(SETTINGS)
    names = options.notebooks or sorted(path.name for path in FOLDER.glob("*.ipynb"))
    for name in names:
        run(FOLDER / Path(name).name, write=options.write)


if __name__ == "__main__":
    main()
