"""Where weights lie, exactly which ones, and how a reference to them may be shown."""
