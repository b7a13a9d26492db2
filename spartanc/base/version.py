"""The version of this package; pyproject.toml states the same."""

VERSION = "0.1.0"
