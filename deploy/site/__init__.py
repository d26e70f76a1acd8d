"""The docs as a site: docs/, the README and pages made from the code, for mkdocs."""
