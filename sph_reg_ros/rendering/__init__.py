"""Digitally reconstructed radiographs and their exact derivative by the pose: see `render`."""
