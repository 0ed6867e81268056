"""OpenCV, imported with its own limits on what it would decode. Everybody takes `cv2` from here.

We decode with Pillow; the limits are for custom steps that call `cv2.imdecode` on something of their own.
"""

import os

# OpenCV reads these once, as it loads.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "50000000")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_WIDTH", "16384")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_HEIGHT", "16384")

import cv2

__all__ = ["cv2"]
