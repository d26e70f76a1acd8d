"""config.yaml, the environment and flags as one typed, frozen `Config`.

Import from its modules: `sections` and `load` need pydantic, which alone takes longer to import
than a health check takes.
"""
