"""`python -m controller.cli` is the `atoll` command."""

from controller.cli import main

main()
