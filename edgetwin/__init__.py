"""edgetwin: a real-time digital-twin runtime for edge gateways."""

__version__ = "0.1.0"
