"""The whole service on one machine, as `up` and `demo` run it: processes, their logs, and their end."""
