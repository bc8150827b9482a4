"""Prediction: images and class names in, labelled segments out; used by the command, the API and the web page."""
