"""Asking cameras: their HTTP account, their pictures."""
