"""Scripts whose committed results are the only numbers that the documentation quotes."""
