"""A study run is a folder: parameters, headless execution, report, sweep.

parameters  Study notebooks and their parameters
report      Reports, frozen notebooks and provenance
run         Running a study notebook
sweep       Comparing two or more runs
"""
