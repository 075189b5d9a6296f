"""Proofs by fault: what the package promises, while servers are killed, frozen, flushed and filled.

``python -m chaos --help``. Every proof records what its callers were told, then looks at the store.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT, ROOT / "tests"):  # servers and topologies are the tests'; worker processes import chaos
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
