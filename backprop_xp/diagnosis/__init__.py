"""Advice on a training run, the errors of a model, and the check of a device."""
