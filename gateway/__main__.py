"""`python -m gateway` is the command `site-gateway`."""

from gateway.cli import main

main()
