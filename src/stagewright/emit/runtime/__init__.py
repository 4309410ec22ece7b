"""Files that written packages carry with them, copied as they are; they import torch only."""
