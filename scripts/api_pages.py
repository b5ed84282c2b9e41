"""Write web pages of the documentation in the docstrings, with pdoc.

pip install pdoc
python scripts/api_pages.py api-pages
"""

import argparse
import warnings
from pathlib import Path

import pdoc

import backprop_xp

SUBPACKAGES = sorted(
    path.parent.name for path in Path(backprop_xp.__file__).parent.glob("*/__init__.py")
)


def main() -> None:
    """Read the folder from the command line, and write the pages to it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write the pages to")
    out = parser.parse_args().out
    warnings.simplefilter("error")
    # pdoc does not find the types in the constructors that Python makes for records.
    warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
    # Public names are loaded when they are first used, and pdoc lists those that are there.
    for name in backprop_xp.__all__:
        vars(backprop_xp)[name] = getattr(backprop_xp, name)
    pdoc.render.configure(docformat="numpy", show_source=False)
    pages = ["backprop_xp", *(f"backprop_xp.{name}" for name in SUBPACKAGES if name != "cli")]
    pdoc.pdoc(*pages, output_directory=out)
    print(f"{len(list(out.rglob('*.html')))} pages; begin with {out / 'index.html'}")


main()
