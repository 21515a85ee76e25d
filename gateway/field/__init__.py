"""The south: who is asked when, on every line, and what the answers changed."""
