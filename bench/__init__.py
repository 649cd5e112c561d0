"""Figures beside their peers and their physical limit: ``python -m bench``."""
