"""From the site file's models to what runs."""
