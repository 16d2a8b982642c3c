"""Colours of elements: one palette for every drawn or plotted geometry."""

from __future__ import annotations

# Atomic number -> symbol and colour. In plots the symbol stands on the colour.
PALETTE = {
    1: ("H", "#c9cfd6"),
    5: ("B", "#d98880"),
    6: ("C", "#59626c"),
    7: ("N", "#2f62d8"),
    8: ("O", "#d7301f"),
    9: ("F", "#2f9e44"),
    14: ("Si", "#a08a60"),
    15: ("P", "#e07b00"),
    16: ("S", "#d8a400"),
    17: ("Cl", "#1b8a3a"),
    35: ("Br", "#8c3b1f"),
    53: ("I", "#7b2fa0"),
}
CARBON = PALETTE[6][1]
OTHER_COLOUR = "#a0309a"


def element_symbol(number: int) -> str:
    """The symbol of an element, from its atomic number; the number if not in the palette."""
    number = int(number)
    return PALETTE[number][0] if number in PALETTE else str(number)


def element_colour(number: int) -> str:
    """The colour of an element as #rrggbb, from its atomic number; one colour for all others."""
    number = int(number)
    return PALETTE[number][1] if number in PALETTE else OTHER_COLOUR


def text_colour(ground: str) -> str:
    """Black or white, whichever reads better on a ground given as #rrggbb."""
    red, green, blue = (int(ground[i : i + 2], 16) for i in (1, 3, 5))
    # Perceived brightness (ITU-R BT.601), 0 to 255.
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return "#000" if brightness > 130 else "#fff"
