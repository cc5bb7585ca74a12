"""Metrics: what Prometheus is told, read from the database, Redis and the storage."""
