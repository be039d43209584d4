"""Registration of a CT to X-rays: `request` in, `pipeline.register`, `result` out."""
