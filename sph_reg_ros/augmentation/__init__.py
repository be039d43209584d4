"""Random disturbances of X-rays that networks are trained with."""
