"""The report: one self-contained page of a training run, made from its folder alone."""
