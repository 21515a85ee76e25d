"""The brain: one pure function makes every decision of the site."""
