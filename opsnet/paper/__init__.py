"""The paper's Tables 1 to 9 and its Figure 4: the training and setting of each row, and our results."""
