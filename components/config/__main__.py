"""``python -m components.config``: one replica of config."""

import sys

from components.config.bootstrap import main
from components.process.run import run

if __name__ == "__main__":
    sys.exit(run(main))
