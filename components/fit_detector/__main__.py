"""python -m components.fit_detector --help"""

from pathlib import Path

from shared.component.runtime import main

raise SystemExit(main(Path(__file__).parent))
