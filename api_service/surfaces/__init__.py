"""Surfaces for clients of other image services: their paths, fields and words, over the same jobs.

Each is a module that is named here, and nowhere else in this package.
"""

from api_service.surfaces import antenna, contours, describe, describe_bare, gallery, health

ALL = (antenna, describe, describe_bare, gallery, contours, health)
# What they add to the service's own /info.
INFO = (antenna.info,)
