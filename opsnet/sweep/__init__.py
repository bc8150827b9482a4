"""Several runs of one command line: jobs on this machine or a cluster, and the report of their results."""
