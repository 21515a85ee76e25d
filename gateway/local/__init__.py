"""For the people on site: what they look at and what they ask goes in and out here."""
