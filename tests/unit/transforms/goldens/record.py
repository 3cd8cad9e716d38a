"""Records the answers of Apache Kafka's transforms anew: `python record.py FOLDER_WITH_JARS`; see README.md."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = "org.apache.kafka.connect.transforms."
SHARED = json.loads((HERE / "values.json").read_text())
DEFAULTS = {"topic": "posts", "key": "1984623785441230848", "timestamp": 1793536496789}
ANSWERS = ("becomes", "dropped", "holds", "refused", "failed")
JAVA = ["java", "-Duser.language=en", "-Duser.country=US", "-Duser.timezone=UTC"]


def whole(case):
    """Return *case* for the Java program: nothing left out."""
    record = DEFAULTS | case["record"]
    value = record["value"]
    if isinstance(value, str) and value.startswith("@"):
        record["value"] = SHARED[value[1:]]
    return {"class": PACKAGE + case["class"], "config": case["config"], "record": record}


def answered(case, found):
    """Return *case* with the answer in *found*; of a record only what has changed."""
    case = {name: part for name, part in case.items() if name not in ANSWERS}
    answer = {name: found[name] for name in ANSWERS if name in found}
    if "becomes" in answer:
        before = found["record"]
        answer["becomes"] = {
            name: part for name, part in answer["becomes"].items() if exact(part) != exact(before[name])
        }
    return case | answer


def exact(value):
    return json.dumps(value, sort_keys=True)


def main():
    jars = f"{Path(sys.argv[1]).resolve()}/*"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["javac", "-cp", jars, "-d", folder, HERE / "Recorder.java"], check=True)  # noqa: S603, S607  # ours
        for path in sorted(HERE.glob("*.jsonl")):
            cases = [json.loads(line) for line in path.read_text().splitlines()]
            found = subprocess.run(  # noqa: S603  # ours
                [*JAVA, "-cp", f"{jars}:{folder}", "Recorder"],
                input="\n".join(json.dumps(whole(case)) for case in cases),
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            answers = map(json.loads, found.splitlines())
            lines = [
                json.dumps(answered(case, each), ensure_ascii=False) for case, each in zip(cases, answers, strict=True)
            ]
            path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
