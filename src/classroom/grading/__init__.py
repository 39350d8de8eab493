"""Marks that cannot be faked: submissions are run in sandboxes, and judged from outside, over the wire."""
