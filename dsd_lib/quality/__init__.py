"""Measures of image quality: DSD among its rivals, and how well each agrees with people."""
