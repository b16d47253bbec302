__version__ = "0.1.0"
from .core.settings import set_offline

set_offline()
