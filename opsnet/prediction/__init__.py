"""Prediction: pictures and any words in, named segments out; behind the command, the API and the web page."""
