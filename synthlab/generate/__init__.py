"""Synthetic trajectories by APIGen-MT, Simia and Toucan, proved where the world is ours.

sampler           Sampling valid tool calls and lookups
wording           Wording user goals
goals             User goals and telecom issues
blueprints        Task blueprints verified by execution
committee         LLM authors and committee review
rewording         Rewording goals with a model
apigen_mt         The APIGen-MT pipeline
mock_tasks        Synthetic tasks for the mock domain
transcripts       Reading and writing conversation transcripts
scripted_teacher  Scripted simulator with controlled faults
seeds             Seed conversations from four kinds of files
simia             Simia: LLM-simulated conversations verified by replay
mcp               MCP servers and clients
toucan_questions  Toucan questions: sampled, worded, rated
toucan_rollout    Toucan rollouts on live servers and their gates
toucan            The Toucan pipeline
pipeline          One call for every generator, and its diagnostics
audit             Auditing released data
"""
