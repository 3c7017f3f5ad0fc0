"""What a cluster is asked for: the size of jobs (chunks), their memory and time (allocation), arrays on Slurm."""
