"""The protocol between the services: records, queues, events and settings, without web or imaging code."""
