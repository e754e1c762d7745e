"""Data-free knowledge distillation in JAX: SSD-KD and the family it is compared with."""

__version__ = "0.1.0"
