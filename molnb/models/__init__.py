"""From a batch to an encoding: families of encoders, the interface they share, and heads beside
them.
"""
