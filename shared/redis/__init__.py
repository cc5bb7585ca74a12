"""What the processes tell each other through Redis: claims, flags, live progress, events, workers, messages.

Nothing here is the truth: all of it may be lost at any time, and the control process makes it good.
"""
