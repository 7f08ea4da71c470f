"""What people read of a run: `report.html`, the words in it, and the table on the terminal."""

from __future__ import annotations

from trainer.report.document import page
from trainer.report.summary import results_table

__all__ = ["page", "results_table"]
