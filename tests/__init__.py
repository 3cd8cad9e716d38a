from pathlib import Path

ROOT = Path(__file__).parent.parent
"""Of the repository, or of the tree that the tests run in."""
