"""Scripts that make what the package and the book ship: weights, pictures, measured results."""
