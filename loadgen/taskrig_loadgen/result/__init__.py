"""The result of a run: its types, how it is made, what it is worth, how it is kept."""
