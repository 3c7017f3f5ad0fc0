"""Sphinx's settings. Nothing here may make a page ask for something elsewhere: tests/test_docs.py watches."""

from __future__ import annotations

from squeezebench import __version__

project = "squeezebench"
version = release = __version__
copyright = "the authors of squeezebench"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"squeezebench {release}"
html_copy_source = html_show_sourcelink = html_show_sphinx = False
exclude_patterns = ["_extra", "_static"]
html_css_files, html_js_files = ["site.css"], ["site.js"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
default_role = "literal"  # docstrings write `name` for code
nitpicky = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
suppress_warnings = ["docutils"]  # docstrings are plain text: indented lines read as definition lists
