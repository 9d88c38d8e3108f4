"""The version of gitreg itself."""

__version__ = "0.1.0"
