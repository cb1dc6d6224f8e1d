"""What a node runs for `stylizer.transfer`, with the worker that has no torch in the place of the real one.

python fake_node.py -P -m stylizer.transfer ID GIVEN.json
"""

import sys
from pathlib import Path

from stylizer import transfer

transfer.WORKER = (sys.executable, "-P", str(Path(__file__).with_name("fake_worker.py")))

if __name__ == "__main__":
    sys.exit(transfer.main(sys.argv[4:]))
