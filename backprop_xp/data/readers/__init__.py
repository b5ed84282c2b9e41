"""Readers for files of rows: CSV, NumPy, and IDX."""
