"""The front of the web process: connections, bodies, streams and waits, none of which holds a thread."""
