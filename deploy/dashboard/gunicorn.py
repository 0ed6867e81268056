"""How gunicorn runs it: `gunicorn -c deploy/dashboard/gunicorn.py 'deploy.dashboard.app:create_app()'`."""

bind = "0.0.0.0:9181"
workers = 1
threads = 4
graceful_timeout = 5
control_socket_disable = True
accesslog = None
loglevel = "warning"
