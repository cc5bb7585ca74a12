"""The web side: everything that touches the database. Knows no TensorFlow and nothing of the worker."""
