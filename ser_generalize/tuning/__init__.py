"""Fine-tuning: an encoder and the head trained on it, trained on together, fold by fold."""
