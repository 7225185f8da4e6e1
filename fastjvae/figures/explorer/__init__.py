"""The explorer: one HTML file in which a model is moved by sliders, without any network."""
