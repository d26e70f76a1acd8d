"""Handlers that come with Taskrig; put yours here, or in a package that config.yaml names."""
