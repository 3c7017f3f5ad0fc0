"""squeezebench: a reproducible benchmark of compression methods for recurrent networks."""

__version__ = "0.1.0"
