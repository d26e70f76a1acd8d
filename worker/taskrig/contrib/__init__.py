"""Ways into other people's frameworks."""
