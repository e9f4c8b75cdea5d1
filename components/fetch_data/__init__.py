"""Fetch images and annotations from wherever they are, verified and unpacked."""
