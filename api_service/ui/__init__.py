"""The web UI: one page, no build step, nothing from elsewhere."""
