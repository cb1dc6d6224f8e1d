"""`python -m tests.emulator --port 8740`: a Batch account to try things on; ends with Ctrl-C."""

from __future__ import annotations

import argparse
import json
import threading

from tests.emulator.server import Emulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--scale", type=float, default=60.0, help="virtual seconds in a real one")
    parser.add_argument("--account", default="stylizertests")
    parser.add_argument("--key", help="base64; made up if not given")
    parser.add_argument("--tls", action="store_true", help="accept bearer tokens, over TLS with a certificate of its own")
    options = parser.parse_args()
    with Emulator(
        scale=options.scale, tls=options.tls, port=options.port, account=options.account, key=options.key
    ) as batch:
        shown = {"url": batch.url, "account": batch.account.name, "key": batch.account.key}
        print(json.dumps({**shown, "cert": str(batch.cert) if batch.cert else None}), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(json.dumps({"cost": str(batch.cost()), "violations": batch.violations}), flush=True)


if __name__ == "__main__":
    main()
