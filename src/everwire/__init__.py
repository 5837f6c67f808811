"""Real-time messaging for Python in one package."""

__version__ = "0.1.0.dev0"
