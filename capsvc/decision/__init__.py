"""Deciding about a root that is proved: what its caveats say, and steps 5 to 8, wherever that happens."""
