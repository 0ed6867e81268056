"""The HTTP service: takes jobs in and hands results out; never decodes an image."""
