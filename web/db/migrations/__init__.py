"""The migrations of the database; they run by themselves when web or control starts."""
