"""python -m components.tune --help"""

from pathlib import Path

from shared.component.runtime import main

raise SystemExit(main(Path(__file__).parent))
