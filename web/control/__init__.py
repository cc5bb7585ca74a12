"""The control process: it stores what workers report, dispatches due jobs and rescues lost ones."""
