"""A package, so that its one Ray ends with its tests, whatever runs after them."""
