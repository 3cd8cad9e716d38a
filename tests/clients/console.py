"""
Evaluates expressions with a client's library, in the client's own Python: `python console.py MODULE EXPRESSION`.

EXPRESSION makes `client`, with the names of MODULE.  Then each line of standard input is an expression with `client`,
and is answered by a line of JSON: `{"value": ...}`, or `{"error": class, "message": text}`.
"""

import importlib
import json
import sys

if __name__ == "__main__":
    names = vars(importlib.import_module(sys.argv[1]))
    client = eval(sys.argv[2], dict(names))  # noqa: S307  # a console is what this is
    for line in sys.stdin:
        try:
            answer = {"value": eval(line, {"client": client})}  # noqa: S307  # as above
        except Exception as error:  # noqa: BLE001  # whoever asked looks at it
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer, default=repr), flush=True)  # noqa: T201  # the answer
