"""The served faces: Gradio app, REST service, wire protocols of other viewers."""
