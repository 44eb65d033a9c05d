"""Over-the-air updates from plain files: encrypted bundles and a signed manifest."""

__version__ = "0.1.0"
