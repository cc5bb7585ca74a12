"""The documentation of the API: the OpenAPI document, and the page that is made from it."""
