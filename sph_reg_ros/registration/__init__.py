"""Registration of a CT to X-rays: `request` in, `register.register`, `result` out."""
