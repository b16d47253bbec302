"""Trajectories for other people's trainers: formats, data set card, hub.

formats      Trainer formats and LLaMA-Factory
dataset      Exporting data sets with a card
atif         Agent Trajectory Interchange Format, both ways
messages     Rows of messages and tools in three spellings, session traces of the Hub
packages     Leaderboard entries and environment packages
inspect_log  Reading logs of Inspect
interchange  One registry of interchange formats, what each loses, files of any of them
"""
