"""Upstreams of s3prl."""

from .expert import UpstreamExpert


def NAME(*args, **kwargs):
    """Returns the upstream with its weights."""
    return UpstreamExpert(*args, **kwargs)
