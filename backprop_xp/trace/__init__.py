"""The trace: every number of one training step, as plain data, tables, LaTeX and a page."""
