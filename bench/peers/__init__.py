"""What Darkroom is compared with: a service of the usual parts that does the same work, and bare floors."""
