"""Uploaded pictures: checks, storage and thumbnails."""
