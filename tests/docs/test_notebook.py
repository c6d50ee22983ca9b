"""The example notebook runs from top to bottom, and shows what it says."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
# jupyter_client reads its own files with an API that Python 3.12 deprecates, and warns about its own paths
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client.*")


@pytest.mark.slow
def test_the_example_notebook_runs_and_refutes_the_masked_score() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    html = " ".join(str(output.get("data", {}).get("text/html", "")) for output in shown)
    text = " ".join(str(output.get("text", "")) for output in shown)
    assert "REFUTED" in html and "staircase:c=255" in html
    assert "FF201 refuted" in text and "instead of" in text
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not [output for output in shown if output.output_type == "stream" and output.name == "stderr"]
