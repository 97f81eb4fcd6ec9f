"""The token itself: bytes, chain, discharges, building. Knows no HTTP, no storage, no policy."""
