"""The paper's Tables 1 to 9 and its Figure 4: which training and setting each row is, and our results beside it."""
