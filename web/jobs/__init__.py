"""The domain: what a job is, how it changes, and what is asked of the rows. Knows no HTTP and no pages."""
