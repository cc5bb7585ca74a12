"""Reading and writing the tables. Functions take an open session; who calls them owns the transaction."""
