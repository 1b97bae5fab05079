"""What only the chapters use: figures, widgets, exercises, a classifier."""
