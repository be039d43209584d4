"""Renderers to compare with: plain torch, and DiffDRR with its exact path integrals."""
