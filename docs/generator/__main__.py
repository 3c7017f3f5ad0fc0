"""`python -m docs.generator FOLDER` builds the site; every warning is an error, a broken link too."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from docs.generator.pages import EXTRA, ROOT, stage


def build(out: Path) -> int:
    """Write the site to `out`. Returns Sphinx's exit status."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "pages"
        stage(source)
        shutil.rmtree(out, ignore_errors=True)
        words = [
            "-b",
            "html",
            "-W",
            "--keep-going",
            "-q",
            "-c",
            ROOT / "docs" / "generator",
            "-d",
            f"{folder}/doctrees",
        ]
        words += ["-D", f"html_extra_path={source / EXTRA}", "-D", f"html_static_path={source / '_static'}"]
        return build_main([*map(str, words), str(source), str(out)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the site; what it holds is replaced")
    options = parser.parse_args()
    if options.out.exists() and not (options.out / "searchindex.js").exists() and any(options.out.iterdir()):
        print(f"{options.out}: holds other files than a site; give a new folder", file=sys.stderr)
        return 1
    status = build(options.out)
    if status == 0:
        print(f"open {options.out / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
