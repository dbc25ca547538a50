"""`python -m recsmith.cli`."""

from .app import main

main()
