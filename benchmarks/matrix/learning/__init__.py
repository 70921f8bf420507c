"""A project of the matrix's own: three classes told apart, with everything that a run can have, in a second."""
