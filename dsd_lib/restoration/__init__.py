"""Restoration networks: what they undo, how they are trained with DSD, how they are used."""
