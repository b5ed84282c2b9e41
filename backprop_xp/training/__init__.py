"""Training: settings, the step, the loop over epochs, and its state."""
