"""What in a valid policy deserves a look: findings by code, each with its place, that may be silenced with a reason."""
