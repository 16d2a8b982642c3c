"""Scaling laws: how losses fall with size, data and compute, and what that is good for.

points         runs -> a table, a row a validation: size, data, FLOPs, loss; which to take
laws           laws by which losses fall, each a sum of powers, with its numbers
refusals       tables of points that cannot tell the numbers of a law apart
problem        a table and a law -> what is minimised; the compute frontier
descent        many fits at once, of logarithms, robust against bad runs
fitting        points -> a fitted law: `fit_law`
resampling     which runs are replicates, how they are drawn anew, how much seeds matter
bootstrap      a fitted law -> intervals of its numbers and forecasts: `bootstrap_law`
measures       how far forecasts are from losses, as the paper measures it
holdout        does the law of small models say the losses of larger ones?
forecast       forecasts written down before a run begins, and held against it
isoflop        the best size for a budget, without a law of losses: `find_optima`
advice         what to train for a budget: `advise`, which `molnb advise` prints
published      the paper's own law: its numbers, and which of them hold
"""
