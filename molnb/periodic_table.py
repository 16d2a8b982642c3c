"""Elements by their number: group, period, and what a network may read of each; without RDKit.

Radii and masses are RDKit's, electronegativities Pauling's; where none is known stands None.
"""

from __future__ import annotations

N_ELEMENT = 118
N_GROUP = 19  # 1 to 18, and one for the lanthanides and actinides that have no group
N_PERIOD = 7
_NOBLE_GASES = (2, 10, 18, 36, 54, 86, 118)
_NO_GROUP = 19
_F_BLOCK = 14  # elements of a period without a group


def period_of(number: int) -> int:
    """The period of an element, 1 to 7."""
    return 1 + sum(number > gas for gas in _NOBLE_GASES[:-1])


def group_of(number: int) -> int:
    """The group of an element, 1 to 18; 19 for Ce to Lu and Th to Lr, which have none here."""
    period = period_of(number)
    last = _NOBLE_GASES[period - 1]
    first = last - [2, 8, 8, 18, 18, 32, 32][period - 1] + 1
    from_left = number - first  # 0 for the alkali metal
    from_right = last - number  # 0 for the noble gas
    n_left = {1: 1, 2: 2, 3: 2}.get(period, 3)  # elements before what the period inserts
    if from_left < n_left:
        return 1 + from_left
    if period >= 6 and from_left < n_left + _F_BLOCK:
        return _NO_GROUP
    return 18 - from_right


def _numbers(text: str) -> tuple[float | None, ...]:
    """Numbers of the elements 1 to 118 from a text; a dash is None."""
    return tuple(None if word == "-" else float(word) for word in text.split())


# Å
COVALENT_RADII = _numbers("""
    0.31 0.28 1.28 0.96 0.84 0.76 0.71 0.66 0.57 0.58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 1.06 2.03
    1.76 1.7 1.6 1.52 1.39 1.39 1.32 1.26 1.24 1.32 1.22 1.22 1.2 1.19 1.2 1.2 1.16 2.2 1.95 1.9
    1.75 1.64 1.54 1.47 1.46 1.42 1.39 1.45 1.44 1.42 1.39 1.39 1.38 1.39 1.4 2.44 2.15 2.07 2.04
    2.03 2.01 1.99 1.98 1.98 1.96 1.94 1.92 1.92 1.89 1.9 1.87 1.87 1.75 1.7 1.62 1.51 1.44 1.41
    1.36 1.36 1.32 1.45 1.46 1.48 1.4 1.5 1.5 2.6 2.2 2.15 2.06 2 1.96 1.9 1.87 1.8 1.69 - - - - -
    - - - - - - - - - - - - - - - - -
""")
VAN_DER_WAALS_RADII = _numbers("""
    1.2 1.4 2.2 1.9 1.8 1.7 1.6 1.55 1.5 1.54 2.4 2.2 2.1 2.1 1.95 1.8 1.8 1.88 2.8 2.4 2.3 2.15
    2.05 2.05 2.05 2.05 2 2 2 2.1 2.1 2.1 2.05 1.9 1.9 2.02 2.9 2.55 2.4 2.3 2.15 2.1 2.05 2.05 2
    2.05 2.1 2.2 2.2 2.25 2.2 2.1 2.1 2.16 3 2.7 2.5 2.48 2.47 2.45 2.43 2.42 2.4 2.38 2.37 2.35
    2.33 2.32 2.3 2.28 2.27 2.25 2.2 2.1 2.05 2 2 2.05 2.1 2.05 2.2 2.3 2.3 2 2 2 2 2 2 2.4 2 2.3
    - - - - - - - - - - - - - - - - - - - - - - - - - -
""")
ELECTRONEGATIVITIES = _numbers("""
    2.2 - 0.98 1.57 2.04 2.55 3.04 3.44 3.98 - 0.93 1.31 1.61 1.9 2.19 2.58 3.16 - 0.82 1 1.36 1.54
    1.63 1.66 1.55 1.83 1.88 1.91 1.9 1.65 1.81 2.01 2.18 2.55 2.96 - 0.82 0.95 1.22 1.33 1.6 2.16
    1.9 2.2 2.28 2.2 1.93 1.69 1.78 1.96 2.05 2.1 2.66 - 0.79 0.89 1.1 1.12 1.13 1.14 1.13 1.17 1.2
    1.2 1.2 1.22 1.23 1.24 1.25 1.1 1.27 1.3 1.5 2.36 1.9 2.2 2.2 2.28 2.54 2 2.04 2.33 2.02 2 2.2 -
    0.7 0.9 1.1 1.3 1.5 1.38 1.36 1.28 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 - - - - - - - - - - - - - - -
    -
""")
# Daltons, of the natural mixture of isotopes
MASSES = _numbers("""
    1.008 4.003 6.941 9.012 10.812 12.011 14.007 15.999 18.998 20.18 22.99 24.305 26.982 28.086
    30.974 32.067 35.453 39.948 39.098 40.078 44.956 47.867 50.944 51.996 54.938 55.845 58.933
    58.693 63.546 65.39 69.723 72.61 74.922 78.96 79.904 83.8 85.468 87.62 88.906 91.224 92.906
    95.94 98 101.07 102.906 106.42 107.868 112.412 114.818 118.711 121.76 127.6 126.904 131.29
    132.905 137.328 138.906 140.116 140.908 144.24 145 150.36 151.964 157.25 158.925 162.5 164.93
    167.26 168.934 173.04 174.967 178.49 180.948 183.84 186.207 190.23 192.217 195.078 196.967
    200.59 204.383 207.2 208.98 209 210 222 223 226 227 232.038 231.036 238.029 237 244 243 247 247
    251 252 257 258 259 262 267 268 269 270 269 278 281 281 285 284 289 288 293 292 294
""")
