"""The mathematics of a fully connected network; README.md gives the order to read it in."""
