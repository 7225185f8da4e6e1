"""The data sets, one module each: which files they are made of, and how they are prepared."""
