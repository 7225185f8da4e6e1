"""The search for settings: what is searched, what settings are compared by, the study."""
