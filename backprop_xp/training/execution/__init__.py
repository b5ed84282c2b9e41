"""How an epoch is executed on each backend."""
