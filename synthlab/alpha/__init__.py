"""A number in the prompt as a dial of the output: training rows, scorers, calibration.

data         Rated texts from reviews
mixture      Alpha mixtures: training rows and the dial
scorers      Sentiment scorers and their error rates
calibration  Calibration of the control curve
baselines    Baselines for attribute control
experiment   The alpha study: setup, tables and figures
"""
