"""The technician's commands: plan, scan, write, watch, doctor, and the frames of a line."""
