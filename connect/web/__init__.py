"""Shared by all REST views: errors, streaming, query parameters, the API description."""
