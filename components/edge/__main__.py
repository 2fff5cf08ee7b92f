"""``python -m components.edge``: one edge, configured by the environment."""

import sys

from components.edge.bootstrap import main
from components.process.run import run

sys.exit(run(main))
