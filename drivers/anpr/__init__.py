"""Plate cameras: turns their pushes and streams into captures. One pure module per maker."""
