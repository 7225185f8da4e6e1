"""The settings of a training run: what there is, what is allowed, the recipes of the data sets."""
