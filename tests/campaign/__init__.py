"""The campaign: every transport, broken in every way, and what was lost, repeated and dead-lettered."""
