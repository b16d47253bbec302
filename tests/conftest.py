"What every test shares: where the repository is, and the real data that lies beside it on some machines."
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent/'shared'/'data'
needs_data = pytest.mark.skipif(not DATA.exists(), reason='real τ² result files are not beside this checkout (../shared/data)')
RUNS = sorted((DATA/'tau2_runs').glob('*.json.gz')) if DATA.exists() else []
