"""Data: loading, splitting, scaling and augmentation of data sets, and moving them to a device."""
