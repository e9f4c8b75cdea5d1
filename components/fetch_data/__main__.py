"""python -m components.fetch_data --help"""

from pathlib import Path

from shared.component.runtime import main

raise SystemExit(main(Path(__file__).parent))
