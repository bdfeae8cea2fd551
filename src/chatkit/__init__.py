"""chatkit: real-time chat for Python, on Trio."""
