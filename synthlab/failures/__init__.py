"""Who broke a failed run: outcome, divergence, criticality, attribution, report.

outcomes     Outcomes, reward components and pass^k
divergence   First divergence and counterfactual criticality
attribution  Attributing failures to their source
reviewer     LLM review of conversations
report       Failure attribution report
page         A page to read failures on
scout        A scanner for Inspect Scout
"""
