"""The database: connection, sessions, tables, migrations."""
