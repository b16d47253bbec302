"What several tests of these modules share"

from synthlab.core.stats import wilson

rows = [
    dict(agent=a, part=p, **wilson(k, 20).row())
    for a, p, k in (("x", "DB", 4), ("y", "DB", 9), ("x", "ALL", 3), ("y", "ALL", 8))
]
