"""The web demo. Only ``layout`` imports gradio."""
