"""Handlers that are only there to be measured."""
