"""The mathematics of a fully connected network, in the reading order that README.md gives."""
