"""Host side: describe the pipeline, compile it, run it. In no component image."""
