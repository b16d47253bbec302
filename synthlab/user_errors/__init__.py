"""Errors of the user simulator (τ²-bench, Section E): detect, inject, validate.

lexicon                A lexicon of dialogue patterns
entities               Entity extraction from dialogue text
dialogue_acts          Dialogue acts of agent and customer
view                   User instructions as requirements and constraints
premature_termination  Detecting premature termination
hallucination          Detecting hallucinated user statements
missed_action          Detecting missed required actions
early_disclosure       Detecting early disclosure
inconsistency          Detecting inconsistent behavior
misreading             Detecting incorrect interpretation
guideline_violation    Detecting guideline violations
tool_calls             Detecting tool call errors of the user
detect                 Rule-based detection of user errors
resimulate             Resimulating edited transcripts
faults                 Injecting user and agent errors
omissions              Injecting omissions
validation             Measuring detectors on injected errors
labels                 Scoring detectors on labelled real conversations
local_reader           A local reader: novelty by sentence embeddings
"""
