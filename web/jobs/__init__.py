"""The domain: jobs, their states and actions, and the queries of their rows. Knows no HTTP and no pages."""
