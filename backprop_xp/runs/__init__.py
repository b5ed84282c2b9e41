"""A training run, from its settings to the folder that holds its results."""
