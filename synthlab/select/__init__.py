"""Which rows are worth training on: deduplicate, score, choose, examine.

base        Selections, budgets and baseline selectors
dedup       Deduplication and decontamination
reader      Token likelihoods and embeddings of rows
likelihood  Selection by perplexity, IFD and GRAPE
coverage    Coverage of an embedding space: k-center, facility location, RDS+
less        LESS: gradient-based influence selection
registry    Selectors by name, and selection from files
evaluation  Labelled pools and fine-tuning trials
experiment  Comparing selectors at equal compute
"""
