"""Does the evidence say that a pose is right? Independent checks and one verdict."""
