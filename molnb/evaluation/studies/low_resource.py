"""Does quantum data help a small assay? A learning curve between controls that can say no.

The question's panel learns the assay alone and with quantum data: learnt first and then fine-tuned
from, or together with the assay. Three negative controls have the same molecules with labels that
cannot help for the reason in question: shuffled, descriptors of the graph, or none but their own
atoms. The ceiling reads true quantum values of the assay's molecules as inputs. The positive
control is another panel, whose assay is a quantum label itself, withheld: there a gain must show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...curation.relabelled import shuffled_labels
from ...errors import InputError
from ...shards import Shards, add_array
from ..benchmark import REGRESSION, BenchmarkTask
from ..comparison import Method
from ..statistics import Interval
from .arms import (
    AGAIN,
    ALONE,
    BEFORE,
    CEILING,
    MASKED,
    NEGATIVE,
    QUESTION,
    TOGETHER,
    Arm,
    reference_arms,
)
from .auxiliary import molecule_values, with_descriptors
from .curves import LearningCurve, Setup
from .design import readable_change
from .trials import run_trials

QUANTUM = "quantum first"
QUANTUM_TOGETHER = "quantum together"
SHUFFLED = "shuffled first"
SHUFFLED_TOGETHER = "shuffled together"
DESCRIPTORS_FIRST = "descriptors first"
MASKED_FIRST = "masked atoms first"
CEILING_ARM = "quantum values as input"
INPUTS = "quantum_values"  # the array of them beside the assay's shards
PARTS = ("question", "positive")  # folders of the panels
# The order of costs: with fewer arms, the first ones remain.
ALL_ARMS = (
    QUANTUM,
    SHUFFLED,
    DESCRIPTORS_FIRST,
    MASKED_FIRST,
    CEILING_ARM,
    QUANTUM_TOGETHER,
    SHUFFLED_TOGETHER,
)
CONTROL_ARMS = (QUANTUM, SHUFFLED)  # of the positive control's panel


@dataclass(frozen=True)
class LowResource:
    """The panels of the study; `question` is asked, `positive` must be answered with yes."""

    question: LearningCurve
    positive: LearningCurve

    @property
    def panels(self) -> tuple[LearningCurve, LearningCurve]:
        """Both, the positive control first: without it the other says nothing."""
        return (self.positive, self.question)

    def run(
        self, workers: int | None = None, watch: Callable[[int, int], Any] | None = None
    ) -> int:
        """Train and test what is not done yet; returns how many trials it was."""
        both = [panel.stages() for panel in self.panels]
        stages = [[trial for stages in both for trial in stages[n]] for n in range(2)]
        return run_trials(stages, workers, watch)

    def resolve(
        self, workers: int | None = None, watch: Callable[[int, int], Any] | None = None
    ) -> pd.DataFrame:
        """The smallest differences that can be found, before any other arm has run."""
        arms = (ALONE, AGAIN)
        trials = [trial for panel in self.panels for trial in panel.trials(arms)]
        run_trials([trials], workers, watch)
        tables = []
        for panel in self.panels:
            table = panel.smallest_differences(panel.table())
            tables.append(table.assign(panel=panel.name, unit=panel.assay.unit))
        return pd.concat(tables, ignore_index=True)

    def table(self) -> pd.DataFrame:
        """A row a finished trial of both panels."""
        return pd.concat([panel.table() for panel in self.panels], ignore_index=True)

    def classical(self, methods: Mapping[str, Method]) -> pd.DataFrame:
        """Methods without a network on the same labels and test rows of both panels."""
        tables = [panel.classical(methods) for panel in self.panels]
        return pd.concat(tables, ignore_index=True)

    def differences(self, table: pd.DataFrame) -> pd.DataFrame:
        """Every arm minus `alone`, see `LearningCurve.differences`."""
        tables = [p.differences(table[table["panel"] == p.name]) for p in self.panels]
        return pd.concat(tables, ignore_index=True)

    def conclusions(self, table: pd.DataFrame) -> list[str]:
        """What may be said, a sentence each; the first says whether the study can be believed.

        Behind each change stands the smallest one that the design finds in four of five studies.
        """
        of_panel = {p.name: table[table["panel"] == p.name] for p in self.panels}
        positive = self.positive.verdicts(of_panel[self.positive.name])
        question = self.question.verdicts(of_panel[self.question.name])
        found = positive[QUANTUM]
        negatives = {name: v for name, v in question.items() if self._role(name) == NEGATIVE}
        for name, verdict in positive.items():
            if name != QUANTUM:
                negatives[f"{name} ({self.positive.name})"] = verdict
        false_gains = [name for name, verdict in negatives.items() if verdict.high < 0]
        smallest = {p.name: p.smallest_change(of_panel[p.name]) for p in self.panels}
        limits = {
            name: f" (would be found from {change:.1f} %)" for name, change in smallest.items()
        }
        limit = limits[self.question.name]
        sentences = [_belief(found, false_gains)]
        sentences.append(
            f"Positive control ({self.positive.name}): quantum data learnt first change the error "
            f"by {readable_change(found)}{limits[self.positive.name]}."
        )
        for name, verdict in negatives.items():
            kind = "a gain, which it should not be" if verdict.high < 0 else "no gain"
            own_limit = limit if name in question else limits[self.positive.name]
            sentences.append(
                f"Negative control, {name}: {readable_change(verdict)}{own_limit}: {kind}."
            )
        for name, verdict in question.items():
            if self._role(name) in (QUESTION, CEILING):
                sentences.append(_answer(name, verdict, limit))
        of_question = of_panel[self.question.name]
        for control in (SHUFFLED, DESCRIPTORS_FIRST, MASKED_FIRST):
            if QUANTUM in question and control in question:
                against = self.question.verdicts(of_question, control)[QUANTUM]
                said = f"{QUANTUM} against {control}: {readable_change(against)}{limit}"
                sentences.append(f"{said[0].upper()}{said[1:]}.")
        return sentences

    def _role(self, name: str) -> str:
        return next(arm.role for arm in self.question.arms if arm.name == name)


def _belief(found: Interval, false_gains: Sequence[str]) -> str:
    """Whether the controls said what they have to say."""
    if found.high >= 0 and false_gains:
        return (
            "The controls failed: no gain where one is planned, and one where there is none to "
            f"have ({', '.join(false_gains)}): nothing follows."
        )
    if found.high >= 0:
        return (
            "The positive control was not found: this design is too small to find a gain that is "
            "there, and says nothing on the question."
        )
    if false_gains:
        return (
            f"The positive control was found, but so was a gain from {', '.join(false_gains)}: "
            "what looks like quantum data helping may be more steps, or any labels at all."
        )
    return "The controls hold: the gain that is there was found, and none where there is none."


def _answer(name: str, verdict: Interval, limit: str) -> str:
    """What an arm of the question says; `limit` is the smallest change that would be found."""
    said = f"{name[0].upper()}{name[1:]}: the error changes by {readable_change(verdict)}{limit}"
    if verdict.high < 0:
        return f"{said}: a gain."
    if verdict.low > 0:
        return f"{said}: a loss."
    largest = -min(verdict.low, 0.0)
    return f"{said}: no difference found; a gain of more than {largest:.1f} % is excluded."


def make_low_resource(
    question: BenchmarkTask,
    positive: BenchmarkTask,
    quantum: Sequence[Shards],
    inputs: Shards | None,
    sizes: tuple[Sequence[int], Sequence[int]],
    setup: Setup,
    arms: Sequence[str] = ALL_ARMS,
) -> LowResource:
    """The study of an assay, with quantum data of other molecules.

    `sizes` are numbers of labels in the panels of the question and of the positive control;
    `inputs` is the assay's dataset with quantum labels of its own molecules, for the ceiling (None:
    none). Raises InputError for an arm that there is not, and for an assay of classes.
    """
    for assay in (question, positive):
        if assay.kind != REGRESSION:
            raise InputError(
                f"{assay.label} is a label of classes: learning curves are of errors of numbers; "
                "see benchmarks/tox21.py for one of classes"
            )
    unknown = [name for name in arms if name not in ALL_ARMS]
    if unknown:
        raise InputError(f"no arm is called {', '.join(unknown)}: choose of {', '.join(ALL_ARMS)}")
    if inputs is not None and CEILING_ARM in arms:
        question = _with_inputs(question, inputs)
    all_arms = _make_arms(tuple(quantum), arms, inputs is not None, setup.seed)
    few_arms = [name for name in CONTROL_ARMS if name in arms]
    control_arms = _make_arms(tuple(quantum), few_arms, False, setup.seed)
    withheld = f"{positive.label} of {positive.shards.name.removesuffix('_target')}, withheld"
    of_question, of_positive = sizes
    in_part = {part: replace(setup, folder=setup.folder / part) for part in PARTS}
    return LowResource(
        question=in_part["question"].curve(
            f"{question.label} of {question.shards.name}", question, all_arms, of_question
        ),
        positive=in_part["positive"].curve(withheld, positive, control_arms, of_positive),
    )


def _make_arms(
    quantum: tuple[Shards, ...], names: Sequence[str], has_inputs: bool, seed: int
) -> tuple[Arm, ...]:
    """The arms of a panel, the reference and its repetition first."""
    arms = reference_arms(seed)
    shuffled: tuple[Shards, ...] = ()
    if SHUFFLED in names or SHUFFLED_TOGETHER in names:
        shuffled = tuple(shuffled_labels(shards, seed) for shards in quantum)
    described: tuple[Shards, ...] = ()
    if DESCRIPTORS_FIRST in names:
        described = tuple(with_descriptors(shards) for shards in quantum)
    made = {
        QUANTUM: Arm(QUANTUM, QUESTION, BEFORE, quantum, seed=seed),
        SHUFFLED: Arm(SHUFFLED, NEGATIVE, BEFORE, shuffled, seed=seed),
        DESCRIPTORS_FIRST: Arm(DESCRIPTORS_FIRST, NEGATIVE, BEFORE, described, seed=seed),
        MASKED_FIRST: Arm(MASKED_FIRST, NEGATIVE, MASKED, quantum, seed=seed),
        QUANTUM_TOGETHER: Arm(QUANTUM_TOGETHER, QUESTION, TOGETHER, quantum, seed=seed),
        SHUFFLED_TOGETHER: Arm(SHUFFLED_TOGETHER, NEGATIVE, TOGETHER, shuffled, seed=seed),
    }
    if has_inputs:
        made[CEILING_ARM] = Arm(CEILING_ARM, CEILING, beside=(INPUTS,), seed=seed)
    return tuple(arms + [made[name] for name in ALL_ARMS if name in names and name in made])


def _with_inputs(assay: BenchmarkTask, inputs: Shards) -> BenchmarkTask:
    """The assay, whose shards keep the quantum values of its molecules beside them."""
    quantum = tuple(name for name in inputs.tasks if name != assay.task)
    _, values = molecule_values(inputs, quantum)
    by_smiles = dict(zip(inputs.smiles(), values, strict=True))
    missing = np.full(values.shape[1], np.nan)
    rows = np.stack([by_smiles.get(smiles, missing) for smiles in assay.shards.smiles()])
    stored = assay.shards.manifest.get("added_arrays", {})
    if INPUTS in stored and np.array_equal(assay.shards.array(INPUTS), rows, equal_nan=True):
        return assay
    shards = add_array(assay.shards, INPUTS, "molecule", rows)
    return replace(assay, shards=shards)
