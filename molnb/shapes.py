"""The legend of tensor axes, and the names that write them into signatures.

    mol      molecules of a batch                 atom     atoms of all molecules, in a row
    bond     bonds of all molecules, in a row     feat     integer features of an atom
    n        atoms of the longest molecule        n_node   n + 1: the virtual node comes first
    node     rows of the flat atom track          pair     rows of the flat pair track
    d_atom   width of the atom track              d_pair   width of the pair track
    head     attention heads                      xyz      three Cartesian components, in Å
    label    labels (columns) of a task           k        labelled molecules, atoms, bonds or pairs
    output   numbers that a head gives: one a     class    classes of a label
             label, or one a class                draw     resampled sets of molecules or runs
    graph    connected graphs of one size         channel  numbers of an encoding
    cost     FLOPs and bytes                      point    losses of runs after so many steps
    term     summands of a law of losses          size     sizes of models

Signatures read ``Float[Tensor, "mol n d_atom"]``. ``Int`` is a signed integer, ``Integer`` any.
Annotations are never evaluated at run time; the tests evaluate those of functions and dataclasses,
in every module that imports from here, through jaxtyping and beartype (`tests/shape_checker.py`).
A GPU node without jaxtyping gets placeholders, so training needs neither.
"""

from __future__ import annotations

try:
    from jaxtyping import Bool, Float, Int, Integer, Shaped, UInt8
except ImportError:  # a machine that only trains
    from typing import Any

    class _Unchecked:
        def __class_getitem__(cls, _item: Any) -> Any:
            return Any

    Bool = Float = Int = Integer = Shaped = UInt8 = _Unchecked
