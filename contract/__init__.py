"""What training and service agree on: findings, pixels, bundle."""
