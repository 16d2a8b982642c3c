"""From a batch to an encoding: families of encoders behind one interface, and heads beside them."""
