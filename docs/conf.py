"""Sphinx configuration: MyST pages, Furo theme, warnings are errors."""

project = "Ostiary"
author = "The Ostiary authors"
copyright = "2026, The Ostiary authors"
extensions = ["myst_parser"]
exclude_patterns = ["evaluation/figures.md", "_build"]
html_theme = "furo"
html_title = "Ostiary"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
