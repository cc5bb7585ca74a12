"""The interface that people program against: ``/api/v1``, as docs and OpenAPI describe it."""

API_PATH = "/api/v1"
