"""RQ's dashboard, shown but not obeyed: it reads our queues and workers and changes nothing."""
