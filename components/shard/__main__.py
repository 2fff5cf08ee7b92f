"""``python -m components.shard``"""

import sys

from components.process.run import run
from components.shard.bootstrap import main

sys.exit(run(main))
