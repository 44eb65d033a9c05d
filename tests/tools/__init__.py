"""Helpers that put real programs, packages and builds in the hands of a test."""
