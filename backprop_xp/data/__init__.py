"""Data: the readers of files, the bundled digits, the named data sets, splits and scaling."""
