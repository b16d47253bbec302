"""Is a trajectory right? Executable policy rules, LLM judges, gates and the funnel.

rules           Executable policy rules
airline_policy  Airline policy rules
retail_policy   Retail policy rules
telecom_policy  Telecom policy rules
judges          A panel of LLM judges
gates           Verification gates and the funnel
"""
