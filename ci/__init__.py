"""What runs in continuous integration and what looks after AWS resources."""
