"""The mathematics of a fully connected network; see the chapter how-it-works of the guide."""
