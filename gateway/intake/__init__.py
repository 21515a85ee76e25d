"""Who speaks by itself: cameras, and the lists of plates."""
