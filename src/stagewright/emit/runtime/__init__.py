"""Files that written packages carry with them, as they are; they import torch only."""
