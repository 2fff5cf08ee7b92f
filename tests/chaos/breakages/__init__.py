"""The product, broken on purpose, in its own processes: so that the checker is seen to see."""
