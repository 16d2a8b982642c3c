"""The commands of `molnb`, a module a stage: what each takes, and which function it calls."""
