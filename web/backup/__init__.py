"""Backup and restore of an installation: its database, and the files that it refers to, in one folder."""
