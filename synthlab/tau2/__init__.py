"""The benchmark: database, environment, results, grading, rollout, replay, agents.

database  The database as linked records
env       τ² domains, tools and environment
results   Reading and writing τ² results
grade     Recomputing τ² rewards
rollout   Rolling out agent and user
replay    Replaying a trajectory
agents    Scripted and language-model agents and users
"""
