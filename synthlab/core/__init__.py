"""Records, settings, parallel map, statistics and plots: knows nothing of models or τ².

types      Messages, tasks and trajectories
settings   Settings, prices and secrets
parallel   Parallel map and progress logging
stats      Confidence intervals and paired differences
text       Text similarity and near-duplicates
plot       Plots with confidence intervals
display    Figures and tables in notebooks
protocols  Protocols and row types
"""
