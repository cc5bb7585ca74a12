"""The control process: what workers report is written down, due jobs are sent out, lost ones are rescued."""
