"""Bodies that move each for itself: parts of a CT, and meshes of one material."""
