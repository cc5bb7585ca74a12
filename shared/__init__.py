"""What the web side and the worker side have to agree on.

Knows neither side: no Flask, no SQLAlchemy, no TensorFlow. Importing this package loads nothing else;
each module pulls in only what it needs, so that the engine can read the options without a Redis client.
"""
