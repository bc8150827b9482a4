"""The web demo: what its controls do and what it shows. Only ``layout`` imports gradio."""
