"""The web demo. Only ``layout`` and ``handlers`` import gradio."""
