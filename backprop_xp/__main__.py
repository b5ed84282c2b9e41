"""``python -m backprop_xp`` is the command ``backprop-xp``."""

from backprop_xp.cli import main

main()
