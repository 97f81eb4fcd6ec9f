"""The caveat language: standard library only; no clock, no keys, no I/O."""
