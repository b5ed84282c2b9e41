"""The notebook: what it shows in the repository is what its code gives today."""

import json
import re
from pathlib import Path

import pytest

import backprop_xp

pytest.importorskip("nbclient", reason="nbclient is not installed (pip install -e '.[dev]')")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (pip install -e '.[dev]')")

NOTEBOOK = Path(__file__).parents[2] / "backprop_xp" / "guide" / "tour.ipynb"


@pytest.fixture(scope="module")
def stored():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = str(tmp_path_factory.mktemp("notebook"))
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}})
    return client.execute()  # which raises the error of a cell


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell):
    """Return the outputs of a cell by kind: what is printed, and what a reader sees of the rest.

    Numbers are left out: their last digits, and times, differ between machines.
    """
    kinds = []
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text")})
        content = data.get("text/html", "" if "image/png" in data else data.get("text/plain"))
        text = re.sub(r"<svg.*?</svg>", "", "".join(content), flags=re.DOTALL)
        words = re.findall(r"[^\W\d_]+", text)
        kinds.append((output.get("name"), sorted(data), words))
    return kinds


def test_the_notebook_is_small_and_names_no_folder_of_a_machine(stored):
    content = NOTEBOOK.read_text(encoding="utf-8")
    assert len(content.encode()) < 400_000
    outputs = json.dumps([cell["outputs"] for cell in code_cells(stored)])
    assert not re.search(r"site-packages|/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\", outputs)


def test_all_cells_were_executed_in_order_without_errors_or_warnings(stored):
    cells = code_cells(stored)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert cell["outputs"]
        for output in cell["outputs"]:
            assert output["output_type"] in ("execute_result", "display_data", "stream")
            assert output.get("name") != "stderr"


def test_the_stored_outputs_are_those_of_today(stored, executed):
    *before, gpu_before = code_cells(stored)
    *now, gpu_now = code_cells(executed)
    assert [shown(cell) for cell in now] == [shown(cell) for cell in before]
    # What the last cell prints depends on the GPU and on CuPy.
    assert [kind[:2] for kind in shown(gpu_now)] == [kind[:2] for kind in shown(gpu_before)]


def test_the_summary_of_the_model_names_this_version(stored):
    assert f">{backprop_xp.__version__}<" in json.dumps(stored)
