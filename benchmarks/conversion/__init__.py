"""What a conversion costs and gains, beside the targets."""
