"""Galleries of faces: stored, searched, calibrated, backed up."""
