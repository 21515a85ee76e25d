"""The brain: everything that the site decides, decided in one place by one pure function."""
