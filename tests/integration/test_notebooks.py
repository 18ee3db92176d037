"""Every notebook runs from top to bottom, and keeps its outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CELL_SECONDS = 400
MAX_BYTES = 2 * 2**20
LARGE = {"choosing_a_codec", "comparison", "larger_than_memory"}
"""Notebooks that write more than 1 GiB, or take minutes."""
STORES = {"object_store"}
"""Notebooks that start a store, out of the environment that the tests have."""


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.stem, marks=[pytest.mark.large] if path.stem in LARGE else []
        )
        for path in NOTEBOOKS
    ],
)
@pytest.mark.filterwarnings("default")  # what Jupyter itself warns about is not ours
@pytest.mark.timeout(900)
def test_notebook_runs(path, tmp_path, request, monkeypatch):
    """In an empty folder, without a display and without standard input."""
    if path.stem in STORES:
        servers = request.getfixturevalue("servers_python")
        monkeypatch.setenv("LAZYCOG_SERVERS", str(servers))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )

    client.execute()

    warned = [
        output.text
        for cell in _code(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert warned == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_one_title(path):
    """It comes first; sections stand below it."""
    notebook = nbformat.read(path, as_version=4)
    levels = [
        line.partition(" ")[0]
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    ]
    assert levels == ["#"] + ["##"] * (len(levels) - 1)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_as_it_ran(path):
    """Executed once from the top, small, and without traces of a machine."""
    notebook = nbformat.read(path, as_version=4)
    code = _code(notebook)

    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs)
    assert path.stat().st_size < MAX_BYTES
    text = path.read_text(encoding="utf-8")
    assert not any(place in text for place in ("/home/", "/Users/", sys.prefix))


def test_there_are_notebooks():
    """A wrong folder would let the tests above pass."""
    assert [path.stem for path in NOTEBOOKS]
