"""site-gateway: the edge gateway of a residential compound."""

__version__ = "0.2.0"
