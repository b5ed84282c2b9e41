"""Readers of data files: CSV, NumPy and IDX."""
