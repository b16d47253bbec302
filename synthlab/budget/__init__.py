"""How many samples to generate and train on in each round of iterative training.

theory      The Gaussian model: theory and simulation
schedules   Budget schedules over rounds
planner     Pilots and the planner: samples per round
bootstrap   The iterative training loop and policy comparison
learners    Learners with exact verifiers: addition, puzzles, digits
experiment  Tables of the budget study
"""
