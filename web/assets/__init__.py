"""Uploaded pictures: taken in, checked, stored, and shown as thumbnails."""
