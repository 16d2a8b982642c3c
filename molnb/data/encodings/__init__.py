"""Where an atom sits in its molecular graph: encodings computed from bonds alone."""
