"""What the peer's processes are told by whoever starts them."""

import os
from pathlib import Path

BROKER = os.environ.get("PEER_BROKER", "redis://localhost:6379/0")
FOLDER = Path(os.environ.get("PEER_FOLDER", "."))
KEEP = os.environ.get("PEER_KEEP", "file")
WORK = os.environ.get("PEER_WORK", "usual")
