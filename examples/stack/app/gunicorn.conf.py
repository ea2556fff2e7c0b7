"""One gunicorn of the stack. Its address is given by --bind."""

workers = 2
threads = 4
worker_class = "gthread"
keepalive = 75  # seconds; nginx lets go of an idle connection before
graceful_timeout = 5
