"""``python -m components.gateway``: one gateway pod."""

import sys

from components.gateway.bootstrap import main
from components.process.run import run

if __name__ == "__main__":
    sys.exit(run(main))
