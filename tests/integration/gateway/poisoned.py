"""``python -m tests.integration.gateway.poisoned``: a pod whose engine chokes on one message."""

import sys
from pathlib import Path

from components.gateway.bootstrap import main
from components.gateway.engine import policies
from components.process.run import run

if __name__ == "__main__":
    policies.__path__.append(str(Path(__file__).parent / "poison_policies"))
    sys.exit(run(main))
