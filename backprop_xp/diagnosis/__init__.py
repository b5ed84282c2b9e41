"""Advice on a training run, analysis of a model's errors, and the check of a device."""
