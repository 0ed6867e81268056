"""How Darkroom is run on one machine, in containers and on Kubernetes."""
