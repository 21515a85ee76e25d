"""Sources that send by themselves (cameras), and the plate lists."""
