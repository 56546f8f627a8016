"""Pre- and post-processing of vision models: one implementation for training, evaluation, serving and batch jobs."""
