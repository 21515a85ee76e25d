"""What a technician needs on site: plan, scan, write, watch, doctor, and the frames of a line."""
