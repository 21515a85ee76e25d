"""The one wiring place, and what runs around the site."""
