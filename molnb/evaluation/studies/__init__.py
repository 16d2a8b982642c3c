"""Studies: questions that take many runs, answered between controls that can say no.

design         folds, nested training sets, the smallest difference that can be found
auxiliary      what is learnt beside an assay: quantum labels, planted ones, descriptors
arms           ways to learn an assay, and the configurations of their runs
trials         runs, each with what it is tested on; finished ones are not repeated
curves         learning curves of arms on one design, and their paired differences
low_resource   does quantum data help a small assay? two curves and what may be said
controls       is a planted gain found, and none in shuffled labels?
amount, diversity, interference   the other questions
plans          what each study is made of, at three sizes
catalogue      studies by name: `run_study`, which `molnb study` calls
"""
