"""The command line `atelier`: the service's processes, and a client of its HTTP interface."""
