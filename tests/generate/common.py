"What several test files of generate use"

from conftest import DATA
from hypothesis import strategies as st

from synthlab.core.types import ToolCall

value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=4), v, max_size=2),
    max_leaves=4,
)


call = st.builds(
    ToolCall,
    st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
    st.dictionaries(st.text(max_size=5), value, max_size=3),
)


# ---- seeds
SEEDS = DATA / "seeds" / "tau2_sft_small.json.gz"
