"""Trajectories for other people's trainers: formats, data set card, hub.

formats  Trainer formats and LLaMA-Factory
dataset  Exporting data sets with a card
"""
