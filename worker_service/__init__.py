"""The workers: everything that decodes images or calls out."""
