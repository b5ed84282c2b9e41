"""A run of the command line: from its settings to the folder that it leaves."""
