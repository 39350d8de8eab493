"""What runs inside a sandbox. Nothing here is trusted once it runs."""
