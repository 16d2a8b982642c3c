"""The legend of tensor axes, and the names that write them into signatures.

    mol      molecules of a batch                 atom     atoms of all molecules, one after another
    bond     bonds of all molecules, likewise     feat, bond_feat   integer features of an atom, of a bond
    n        atoms of the longest molecule        n_node   n + 1: the virtual node comes first
    d_atom   width of the atom track              d_pair   width of the pair track
    head     attention heads                      xyz      three Cartesian components, in Å
    label    labels (columns) of a task           k        labelled molecules, atoms, bonds or pairs

Signatures read ``Float[Tensor, "mol n d_atom"]``. Annotations are never evaluated at run time; the
tests evaluate them, through jaxtyping and beartype. A GPU node without jaxtyping gets placeholders,
so training needs neither.
"""

from __future__ import annotations

try:
    from jaxtyping import Bool, Float, Int, Shaped, UInt8
except ImportError:  # a machine that only trains
    from typing import Any

    class _Unchecked:
        def __class_getitem__(cls, _item: Any) -> Any:
            return Any

    Bool = Float = Int = Shaped = UInt8 = _Unchecked
