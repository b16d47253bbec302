"Settings of the generators' tests"

import os

# prices are read from the package, not from the network
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
