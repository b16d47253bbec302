"""The benchmark: generations, database, environment, results, grading, rollout, replay, agents.

generations  Generations of the benchmark's tasks
later_tools  Tools that the installed release lacks
database     The database as linked records
env          τ² domains, tools and environment
results      Reading and writing τ² results
grade        Recomputing τ² rewards
rollout      Rolling out agent and user
replay       Replaying a trajectory
agents       Scripted and language-model agents and users
tau1         Runs of τ-bench v1
witness      Upstream as a witness
"""
