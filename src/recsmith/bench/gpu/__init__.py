"""`recsmith bench lookup` on a GPU: weights, ids and outputs stay there; what is timed is recorded as a graph."""
