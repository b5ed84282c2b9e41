"""Named experiments: what the notes teach, run, and held against what was published."""
