"""Trained models and the files that hold them."""
