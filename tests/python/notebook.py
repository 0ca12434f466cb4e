"""Runs the code cells of a notebook in the working directory: notebook.py FILE [--update].

A cell that fails ends it with the cell's text. With --update, what cells print and draw is written
into the file.
"""

import ast
import contextlib
import io
import json
import sys
from pathlib import Path

LARGEST_OUTPUT = 40_000


def run(source: str, names: dict[str, object]) -> tuple[str, str | None]:
    """Runs a cell, and returns what it prints and the drawing that its last line makes."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    drawing = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
            drawing = value._repr_svg_() if hasattr(value, "_repr_svg_") else None
    return printed.getvalue(), drawing


def outputs(printed: str, drawing: str | None) -> list[dict[str, object]]:
    """Returns a cell's outputs as a notebook stores them."""
    stored: list[dict[str, object]] = []
    if printed:
        lines = printed.splitlines(keepends=True)
        stored.append({"name": "stdout", "output_type": "stream", "text": lines})
    if drawing is not None:
        data = {"image/svg+xml": drawing.splitlines(keepends=True)}
        stored.append({"data": data, "metadata": {}, "output_type": "display_data"})
    return stored


def main() -> None:
    path = Path(sys.argv[1])
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"])
        try:
            printed, drawing = run(source, names)
        except Exception as error:
            sys.exit(f"{path}: cell {number} fails: {type(error).__name__}: {error}\n{source}")
        print(printed, end="", flush=True)
        cell["outputs"] = outputs(printed, drawing)
        cell["execution_count"] = number
        if len(json.dumps(cell["outputs"])) > LARGEST_OUTPUT:
            sys.exit(f"{path}: the output of cell {number} is too large to be kept")
    if "--update" in sys.argv[2:]:
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path}: {len(cells)} cells")


if __name__ == "__main__":
    main()
