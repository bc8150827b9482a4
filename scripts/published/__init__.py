"""Scripts for published weights: convert, compare with transformers, evaluate with their own class head."""
