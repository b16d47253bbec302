__version__ = "0.1.0"
from .settings import offline

offline()
