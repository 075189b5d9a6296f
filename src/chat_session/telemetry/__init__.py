"""What the package tells about itself while it runs."""
