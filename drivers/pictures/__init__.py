"""What a camera is asked for: its HTTP account, its pictures."""
