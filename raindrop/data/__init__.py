"""Pictures for training and evaluation."""
