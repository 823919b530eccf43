"""Learning which demonstration to show a model: samples measured on a target, training, evaluation."""
